// Line charts as SVG: axes, lines, names; nothing else.

const WIDTH = 460;
const HEIGHT = 320;
const MARGIN = { left: 64, right: 30, top: 40, bottom: 72 };
const COLOURS = ['#0b6e4f', '#c1440e', '#3b5ba5', '#8a5a9e', '#777777'];

const escape = (text) => String(text).replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`);

function ticks(values, log) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (log) {
    const from = Math.floor(Math.log10(low));
    return Array.from({ length: Math.ceil(Math.log10(high)) - from + 1 }, (_, i) => 10 ** (from + i));
  }
  const step = [1, 2, 5].flatMap((n) => [n / 100, n / 10, n, n * 10, n * 100, n * 1000, n * 10000]).sort((a, b) => a - b).find((s) => high / s <= 6);
  return Array.from({ length: Math.ceil(high / step) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

function scale(marks, log, from, to) {
  const place = log ? Math.log10 : Number;
  const [low, high] = [place(marks[0]), place(marks.at(-1))];
  return (value) => from + ((place(value) - low) / (high - low)) * (to - from);
}

/** `{title, x, y, logX, logY, series: [{name, points: [[x, y]…]}]}` side by side as one SVG. */
export function charts(panels) {
  const drawn = panels.map((panel, i) => `<g transform="translate(${i * WIDTH} 0)">${chart(panel)}</g>`);
  const width = WIDTH * panels.length;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${HEIGHT}" viewBox="0 0 ${width} ${HEIGHT}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="white"/>
${drawn.join('\n')}
</svg>
`;
}

function chart({ title, x, y, logX, logY, series }) {
  const points = series.flatMap((one) => one.points);
  const xMarks = ticks(points.map(([value]) => value), logX);
  const yMarks = ticks(points.map(([, value]) => value), logY);
  const px = scale(xMarks, logX, MARGIN.left, WIDTH - MARGIN.right);
  const py = scale(yMarks, logY, HEIGHT - MARGIN.bottom, MARGIN.top);
  const parts = [`<text x="${WIDTH / 2}" y="20" text-anchor="middle" font-size="13">${escape(title)}</text>`];
  for (const mark of xMarks) {
    parts.push(`<path d="M${px(mark)} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}" stroke="#e4e4e4"/>`);
    parts.push(`<text x="${px(mark)}" y="${HEIGHT - MARGIN.bottom + 14}" text-anchor="middle">${mark.toLocaleString('en')}</text>`);
  }
  for (const mark of yMarks) {
    parts.push(`<path d="M${MARGIN.left} ${py(mark)}H${WIDTH - MARGIN.right}" stroke="#e4e4e4"/>`);
    parts.push(`<text x="${MARGIN.left - 6}" y="${py(mark) + 4}" text-anchor="end">${mark.toLocaleString('en')}</text>`);
  }
  parts.push(`<text x="${WIDTH / 2}" y="${HEIGHT - MARGIN.bottom + 30}" text-anchor="middle">${escape(x)}</text>`);
  parts.push(`<text transform="translate(14 ${(HEIGHT - 30) / 2}) rotate(-90)" text-anchor="middle">${escape(y)}</text>`);
  series.forEach(({ name, points: line }, i) => {
    const colour = COLOURS[i % COLOURS.length];
    parts.push(`<path d="M${line.map(([a, b]) => `${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join('L')}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [a, b] of line) parts.push(`<circle cx="${px(a).toFixed(1)}" cy="${py(b).toFixed(1)}" r="3" fill="${colour}"/>`);
    const [column, row] = [i % 2, Math.floor(i / 2)];
    const [lx, ly] = [MARGIN.left + column * 200, HEIGHT - 26 + row * 16];
    parts.push(`<rect x="${lx}" y="${ly - 8}" width="10" height="10" fill="${colour}"/><text x="${lx + 15}" y="${ly + 1}">${escape(name)}</text>`);
  });
  return parts.join('');
}
