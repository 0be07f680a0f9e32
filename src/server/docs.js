// Show one version at a time, because the whole document takes many seconds.
const version = new URLSearchParams(location.search).get("version") === "beta" ? "beta" : "v1.0";
document.querySelector(`nav a[data-version="${version}"]`).setAttribute("aria-current", "page");

// Use no validator, because it is on another host. Do not store tokens.
SwaggerUIBundle({
  url: `/docs/${version}.json`,
  dom_id: "#docs",
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
  persistAuthorization: false,
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: 0,
  supportedSubmitMethods: ["get", "head", "post", "patch", "delete"],
});
