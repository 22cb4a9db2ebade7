// What can be used or read as a whole, and has no name that a screen reader could say.
[...document.querySelectorAll("button, select, input, [tabindex], section, table")]
  .filter((it) => it.checkVisibility() && it.id !== "main")
  .filter((it) => !(
    it.getAttribute("aria-label")
    || document.getElementById(it.getAttribute("aria-labelledby"))?.textContent
    || it.labels?.[0]?.textContent.trim()
    || it.caption?.textContent
    || (it.matches("button") && it.textContent.trim())
  ))
  .map((it) => it.outerHTML.slice(0, 100))
