// The study page: the way back keeps the search that led here.

const back = document.querySelector("[data-back]");

if (back && document.referrer.startsWith(`${location.origin}${back.pathname}?`)) {
  back.href = document.referrer;
}

// Once sending has begun, its menu is in the way.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.target.matches("form[hx-post]")) {
    event.target.closest("details.menu")?.removeAttribute("open");
  }
});
