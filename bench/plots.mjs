// Owns the pictures of a run: for each part one of the processor time a request takes, and one of how long it takes.
// Invariant: a picture shows the medians that the printed tables show, says what and when it was measured, and stands alone.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KINDS = [
  ["cpu", "processor time per request, µs"],
  ["whole50", "whole answer, median, ms"],
];
const BAR = 14;
const GAP = 14;
const LABELS = 260;
const WIDTH = 820;
const COLOURS = ["#9aa5b1", "#2f6fb5"];

/** Writes `<part>-<kind>.svg` files into a folder. */
export function writePlots(folder, environment, parts) {
  mkdirSync(folder, { recursive: true });
  for (const { title, baseline, results } of parts) {
    for (const [key, what] of KINDS) {
      const name = `${title}-${key}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
      writeFileSync(join(folder, `${name}.svg`), plot({ title, baseline, results, key, what, environment }));
    }
  }
}

function plot({ title, baseline, results, key, what, environment }) {
  const most = Math.max(...results.flatMap(({ medians }) => [medians[baseline][key], medians.gateway[key]]));
  const length = (value) => ((WIDTH - LABELS - 90) * value) / most;
  let y = 64;
  const rows = results.map(({ name, medians }) => {
    const bars = [baseline, "gateway"].map((target, at) => {
      const value = medians[target][key];
      const top = y + at * BAR;
      return (
        `<rect x="${LABELS}" y="${top}" width="${length(value).toFixed(1)}" height="${BAR - 2}" fill="${COLOURS[at]}"/>` +
        `<text x="${(LABELS + length(value) + 6).toFixed(1)}" y="${top + BAR - 4}">${value.toPrecision(3)}</text>`
      );
    });
    const row = `<text x="${LABELS - 8}" y="${y + BAR + 3}" text-anchor="end">${text(name)}</text>${bars.join("")}`;
    y += 2 * BAR + GAP;
    return row;
  });
  const { date, cpu, cores, workerd } = environment;
  const legend = [baseline, "memory-gateway"]
    .map(
      (name, at) =>
        `<rect x="${LABELS + at * 240}" y="40" width="12" height="12" fill="${COLOURS[at]}"/>` +
        `<text x="${LABELS + 18 + at * 240}" y="50">${text(name)}</text>`,
    )
    .join("");
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 24}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="12" y="24" font-size="15">${text(`${title}: ${what}`)}</text>`,
    legend,
    ...rows,
    `<text x="12" y="${y + 12}" fill="#555">${text(`${date.slice(0, 10)}, ${cpu}, ${cores} cores, workerd ${workerd}`)}</text>`,
    "</svg>\n",
  ].join("\n");
}

const text = (value) => value.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
