"use strict";

const docs = document.getElementById("docs");
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dress();
dark.addEventListener("change", dress);

SwaggerUIBundle({
  url: docs.dataset.schema,
  domNode: docs,
  onComplete() {
    for (const title of docs.querySelectorAll("h3, h4")) title.setAttribute("aria-level", "2");
    for (const part of docs.querySelectorAll(".information-container, .scheme-container")) {
      part.setAttribute("role", "region");
      part.setAttribute("aria-label", part.matches(".scheme-container") ? "Login" : document.title);
    }
  },
  validatorUrl: null, // Nothing is sent to another host.
  requestInterceptor(request) {
    const token = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    if (token) request.headers["X-CSRFToken"] = token[1];
    return request;
  },
});
