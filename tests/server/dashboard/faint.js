// Texts with a contrast under 4.5, as WCAG 2.2 reckons it (1.4.3, and its definition of relative luminance).
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => rgb(colour).slice(0, 3).map((it) => it / 255)
    .map((it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4))
    .reduce((sum, it, place) => sum + it * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const { backgroundColor } = getComputedStyle(it);
      if (rgb(backgroundColor)[3] === 255) return backgroundColor;
    }
  };
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const faint = [];
  while (walker.nextNode()) {
    const it = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !it.checkVisibility() || it.closest("script, style")) continue;
    const found = contrast(light(getComputedStyle(it).color), light(behind(it)));
    if (found < 4.5) faint.push([it.textContent.slice(0, 40), found]);
  }
  return faint;
})()
