"use strict";
// Relative, so that the page works under any path of a proxy; validatorUrl would ask a host outside.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#document",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  syntaxHighlight: { activated: true },
  tryItOutEnabled: false,
  validatorUrl: null,
});
