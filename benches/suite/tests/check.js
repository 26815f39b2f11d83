// Looks at the page as a reader would, and writes what it sees into an attribute of the root.
const faults = [];
const colour = (text) => {
  const numbers = (text.match(/[\d.]+/g) || []).map(Number);
  return { rgb: numbers.slice(0, 3), alpha: numbers.length > 3 ? numbers[3] : 1 };
};
const luminance = ({ rgb }) => {
  const [r, g, b] = rgb.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const own = colour(getComputedStyle(at).backgroundColor);
    if (own.alpha > 0.99) return own;
  }
  return { rgb: [255, 255, 255] };
};
const contrast = (element) => {
  const style = getComputedStyle(element);
  const [a, b] = [luminance(colour(element.namespaceURI.endsWith("svg") ? style.fill : style.color)), luminance(ground(element))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const shown = (element) => element.getClientRects().length > 0;
const said = (element) => element.textContent.trim().slice(0, 40);

addEventListener("load", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) faults.push(`the page is wider than ${width}`);
  let leastContrast = 99, leastLetters = 99, texts = 0;
  for (const element of document.querySelectorAll("main *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !shown(element) || ["title", "desc", "SCRIPT", "OPTION"].includes(element.nodeName)) continue;
    texts += 1;
    const box = element.getBoundingClientRect();
    if (box.right > width + 1 && !element.closest(".scroll, pre")) faults.push(`sticks out: ${said(element)}`);
    const own_contrast = contrast(element);
    if (own_contrast < 4.5) faults.push(`contrast ${own_contrast.toFixed(1)}: ${said(element)}`);
    leastContrast = Math.min(leastContrast, own_contrast);
    const svg = element.ownerSVGElement;
    const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
    const letters = parseFloat(getComputedStyle(element).fontSize) * scale;
    if (letters < 10) faults.push(`letters of ${letters.toFixed(1)} pixels: ${said(element)}`);
    leastLetters = Math.min(leastLetters, letters);
  }
  let charts = 0;
  for (const svg of [...document.querySelectorAll("svg.chart")].filter(shown)) {
    charts += 1;
    const { width, height } = svg.viewBox.baseVal;
    const name = svg.querySelector("title").textContent;
    const boxes = [...svg.querySelectorAll("text")].map((text) => ({ box: text.getBBox(), text: said(text) }));
    boxes.forEach(({ box, text }, number) => {
      if (box.x < -1 || box.y < -1 || box.x + box.width > width + 1 || box.y + box.height > height + 1) {
        faults.push(`cut off in ${name}: ${text}`);
      }
      for (const other of boxes.slice(number + 1)) {
        const across = Math.min(box.x + box.width, other.box.x + other.box.width) - Math.max(box.x, other.box.x);
        const down = Math.min(box.y + box.height, other.box.y + other.box.height) - Math.max(box.y, other.box.y);
        if (across > 1 && down > 4) faults.push(`over each other in ${name}: ${text} / ${other.text}`);
      }
    });
  }
  const without = [...document.querySelectorAll("article")].filter((row) => ![...row.querySelectorAll("svg.chart")].some(shown));
  for (const row of without) faults.push(`no chart in ${row.id}`);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const seen = { faults: [...faults, ...(window.errors || [])], width, charts, texts, dark, leastContrast, leastLetters };
  // In a frame, which can be narrower than a browser's window, of the same origin.
  parent.document.documentElement.dataset.seen = encodeURIComponent(JSON.stringify(seen));
});
