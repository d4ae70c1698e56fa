// tus-js-client under Node, as it comes: all that is left in one PATCH.
const fs = require("node:fs");
const tus = require("tus-js-client");

const job = JSON.parse(fs.readFileSync(0, "utf8"));
const upload = new tus.Upload(fs.createReadStream(job.file), {
  endpoint: job.endpoint,
  headers: job.headers,
  metadata: job.metadata,
  retryDelays: Array(job.retries).fill(job.retry_delay_s * 1000),
  onSuccess: () => console.log(upload.url),
  onError: (error) => {
    console.error(error);
    process.exitCode = 1;
  },
});
upload.start();
