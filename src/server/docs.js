// One version at a time: the whole document takes many seconds to show.
const version = new URLSearchParams(location.search).get("version") === "beta" ? "beta" : "v1.0";
document.querySelector(`nav a[data-version="${version}"]`).setAttribute("aria-current", "page");

// No validator, since it is on another host; no memory of tokens.
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
