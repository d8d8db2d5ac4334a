"""How the page looks, and what it does without asking the server."""

FONTS = ('system-ui', 'sans-serif')  # of the visitor's machine: nothing is fetched
MONO = ('ui-monospace', 'monospace')

CSS = """
.gradio-container { --soft: color-mix(in srgb, var(--body-text-color) 68%, transparent); }
.gradio-container > .main { padding: 14px 24px !important; max-width: none; }
footer { display: none !important; }
header { display: flex; justify-content: space-between; align-items: center; gap: 16px; }
header h1 { font-size: 20px; line-height: 1.3; font-weight: 600; margin: 0;
  overflow-wrap: anywhere; }
header small { font-weight: 400; color: var(--soft); padding: 0 4px; }
header p, .hint, .download { margin: 0; font-size: 13px; color: var(--soft); }
header button { font-size: 22px; line-height: 1; padding: 4px 8px; cursor: pointer; }
.download { overflow-wrap: anywhere; }
.html-container { padding: 2px 0 !important; }
#upload .icon-wrap { display: none; }
#choice input { text-overflow: ellipsis; padding-right: 28px; }
#canvas .has_children { gap: 0; }
#canvas .image-container { min-height: 240px; align-content: center; }
#canvas .image-frame { width: 100%; }
#canvas img { width: 100%; max-height: 560px; object-fit: contain; cursor: crosshair; }
#clip video { max-height: 560px; }
.caption, .scale { display: flex; justify-content: space-between; align-items: center; gap: 12px;
  font-size: 13px; }
.caption span { color: var(--soft); margin: auto; text-align: center; }
.caption > b { max-width: 36%; overflow-wrap: anywhere; }
.scale i { flex: 1; height: 10px; border-radius: 5px; }
#middle { gap: 6px; }
.pixel { display: flex; gap: 2px 20px; flex-wrap: wrap; font-size: 14px; line-height: 1.5; }
.pixel p { margin: 0; font-size: 14px; }
.pixel em { font-style: normal; color: var(--soft); padding-right: 8px; }
.legend { list-style: none; margin: 0; padding: 0; font-size: 13px; }
.legend li { display: flex; flex-wrap: wrap; align-items: center; gap: 0 8px; margin: 0 0 5px;
  padding: 0; }
.legend i { width: 12px; height: 12px; border-radius: 3px; box-shadow: 0 0 0 1px #8886; }
.legend span { flex: 1; overflow-wrap: anywhere; }
.legend b { font-weight: 500; font-variant-numeric: tabular-nums; min-width: 56px;
  max-width: 90px; overflow: hidden; text-overflow: ellipsis; text-align: right; }
.legend u { flex-basis: 100%; margin: 3px 0 0 20px; text-decoration: none; }
.legend s { display: block; height: 3px; min-width: 1px; border-radius: 2px; margin-bottom: 1px; }
.boxes { max-height: 420px; overflow-y: auto; }
.boxes table { width: 100%; font-size: 12px; font-variant-numeric: tabular-nums;
  border-collapse: collapse; margin-top: 8px; }
.boxes table, .boxes thead, .boxes tr { border: 0 !important; }
.boxes caption { text-align: left; font-weight: 600; }
.boxes th, .boxes td { text-align: right; padding: 2px 4px !important; font-weight: 400;
  border: 0 !important; border-bottom: 1px solid var(--border-color-primary) !important; }
.boxes th { color: var(--soft); }
.boxes th:first-child, .boxes td:first-child { text-align: left; }
"""

# Which pixel of the picture was clicked; the end of a drag, as of the slider between two, is none.
ON_CLICK = """
let down = [0, 0];
element.addEventListener('pointerdown', event => {
  down = [event.clientX, event.clientY];
}, true);
element.addEventListener('click', event => {
  const {clientX, clientY} = event;
  const dragged = Math.hypot(clientX - down[0], clientY - down[1]) > 4;
  if (dragged || event.target.closest('.icon-button')) return;
  for (const image of element.querySelectorAll('img')) {
    const box = image.getBoundingClientRect();
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    const scale = Math.min(box.width / width, box.height / height);
    const x = Math.floor((clientX - box.x - (box.width - scale * width) / 2) / scale);
    const y = Math.floor((clientY - box.y - (box.height - scale * height) / 2) / scale);
    if (x >= 0 && x < width && y >= 0 && y < height) {
      trigger('select', {x, y});
      return;
    }
  }
}, true);
"""

SWITCH_COLOURS = """
element.querySelector('button').addEventListener('click', () => {
  document.body.classList.toggle('dark');
});
"""
