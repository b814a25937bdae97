// Search shows an excerpt of each page that it finds, which it has to fetch; from a file a browser fetches nothing.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
// What scrolls by itself is reached with the keyboard too.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".table-wrapper, div.highlight pre").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    }
  });
});
