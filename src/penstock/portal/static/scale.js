// Axes: round steps that a reader can count in.

// From 0 to at least `most`, in about `wanted` steps of 1, 2 or 5 times a power of ten.
export function steps(most, wanted = 4, isWhole = false) {
  const rough = Math.max(most, isWhole ? 1 : 1e-9) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  if (isWhole) step = Math.max(1, Math.round(step));
  const marks = [0];
  while (marks.at(-1) < most) marks.push(marks.at(-1) + step);
  if (marks.length === 1) marks.push(step);
  return marks.map((mark) => Number(mark.toPrecision(12)));
}

// Draws again whenever the place's width changes; gives a function that draws now.
export function keepDrawn(place, draw) {
  let width = 0;
  const now = () => width && draw(width);
  new ResizeObserver(([entry]) => {
    const found = Math.floor(entry.contentRect.width);
    if (found && found !== width) {
      width = found;
      draw(width);
    }
  }).observe(place);
  return now;
}
