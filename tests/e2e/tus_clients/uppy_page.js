// Uppy in a browser: `uploadFile` sends what was chosen in the page's one <input>.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

globalThis.uploadFile = async (job) => {
  const [file] = document.querySelector("input").files;
  const uppy = new Uppy({ autoProceed: false }).use(Tus, {
    endpoint: job.endpoint,
    headers: job.headers,
    retryDelays: Array(job.retries).fill(job.retry_delay_s * 1000),
  });
  uppy.addFile({ name: file.name, type: file.type, data: file, meta: job.metadata });
  const { successful, failed } = await uppy.upload();
  if (failed.length > 0) throw new Error(failed[0].error);
  return successful[0].uploadURL;
};
