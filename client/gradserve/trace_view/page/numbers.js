// Numbers and shapes as people read them.

const NOT_FINITE = { nan: NaN, inf: Infinity, "-inf": -Infinity };

/** A number of the trace; JSON has none that are not finite, so that those come as text. */
function readNumber(given) {
  return typeof given === "string" ? NOT_FINITE[given] : given;
}

/** A number with as many significant digits as asked for, such as "0.6295", "−3.7e−5", "0", "∞". */
function short(number, digits = 4) {
  if (Number.isNaN(number)) return "NaN";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (Number.isInteger(number) && size < 1e6) return String(number).replace("-", "−");
  const text = size >= 1e5 || size < 1e-3 ? number.toExponential(digits - 1) : number.toPrecision(digits);
  const [digitsPart, exponent] = text.split("e");
  const trimmed = digitsPart.includes(".") ? digitsPart.replace(/\.?0+$/, "") : digitsPart;
  return (exponent === undefined ? trimmed : `${trimmed}e${exponent.replace("+", "")}`).replaceAll("-", "−");
}

/** "scalar", or sizes such as "32 × 64". */
function shapeText(shape) {
  return shape.length === 0 ? "scalar" : shape.join(" × ");
}

/** A count with its noun: "1 value", "2 values". */
function countText(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** What stands for a tensor where there is room for one number: the number itself, or its root mean square. */
function summaryText(statistics, digits = 4) {
  if (!statistics) return "";
  if (statistics.non_finite > 0) return "not finite";
  const count = statistics.shape.reduce((product, size) => product * size, 1);
  if (count === 1) return short(statistics.mean, digits);
  return `rms ${short(statistics.root_mean_square, Math.min(digits, 3))}`;
}
