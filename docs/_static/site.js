// Search shows an excerpt of each page that it finds, which it has to fetch; from a file a browser fetches nothing.
if (window.location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}
document.addEventListener("DOMContentLoaded", () => {
  // A heading in the list of pages says of which level it is.
  document.querySelectorAll("p.caption[role=heading]").forEach((caption) => {
    caption.setAttribute("aria-level", "2");
  });
  // The lines of a signature are no list of terms.
  document.querySelectorAll("dt.sig dl, dt.sig dd").forEach((line) => {
    line.setAttribute("role", "presentation");
  });
  // What scrolls by itself is reached with the keyboard too.
  document.querySelectorAll(".table-wrapper, div.highlight pre").forEach((box) => {
    if (box.scrollWidth > box.clientWidth) {
      box.tabIndex = 0;
    }
  });
});
