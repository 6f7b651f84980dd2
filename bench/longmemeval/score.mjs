// Owns the figures: accuracies with their intervals, tokens, cost.
// Invariant: pure; every figure is of the judged answers that it is given, and of nothing else.

/** The 95 % quantile of the normal distribution, two-sided. */
const Z = 1.959964;

/**
 * Wilson's interval of a share, as `[low, high]`. It stays within 0 and 1 and is right for few questions, where the usual
 * one is not. https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
 */
export function wilson(right, all) {
  if (all === 0) return [0, 1];
  const share = right / all;
  const middle = (share + Z ** 2 / (2 * all)) / (1 + Z ** 2 / all);
  const half = (Z / (1 + Z ** 2 / all)) * Math.sqrt((share * (1 - share)) / all + Z ** 2 / (4 * all ** 2));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

const accuracy = (results) => {
  const right = results.filter(({ correct }) => correct).length;
  return {
    right,
    all: results.length,
    share: results.length ? right / results.length : null,
    interval: wilson(right, results.length),
  };
};

/**
 * Micro (over all questions), macro (the mean of the types), by type, and over the questions that have no answer, which
 * count in their types as well.
 */
export function scores(results) {
  const types = [...new Set(results.map(({ type }) => type))].sort();
  const byType = Object.fromEntries(
    types.map((type) => [type, accuracy(results.filter((result) => result.type === type))]),
  );
  const shares = Object.values(byType).map(({ share }) => share);
  return {
    micro: accuracy(results),
    macro: shares.length ? shares.reduce((sum, share) => sum + share, 0) / shares.length : null,
    byType,
    abstention: accuracy(results.filter(({ abstention }) => abstention)),
  };
}

/** Tokens of the calls, summed by purpose (`ingest`, `answer`, `judge`) and model. */
export function tokens(calls) {
  const sums = new Map();
  for (const { purpose, model, prompt, completion, cached } of calls) {
    const key = `${purpose} ${model}`;
    const sum = sums.get(key) ?? { purpose, model, calls: 0, prompt: 0, completion: 0, cached: 0 };
    sum.calls += 1;
    sum.prompt += prompt;
    sum.completion += completion;
    sum.cached += cached;
    sums.set(key, sum);
  }
  return [...sums.values()];
}

/** US dollars of a sum of tokens; null without a price. `price`: dollars a million tokens. */
export function cost({ prompt, completion, cached }, price) {
  if (price === undefined) return null;
  const { input, output, cachedInput = input } = price;
  return ((prompt - cached) * input + cached * cachedInput + completion * output) / 1e6;
}

/** Reads prices given as `MODEL=INPUT/OUTPUT` or `MODEL=INPUT/OUTPUT/CACHED`; the first that is none is given back. */
export function pricesFrom(texts) {
  const prices = {};
  for (const text of texts) {
    const [, model, input, output, cachedInput] =
      /^(.+)=(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)(?:\/(\d+(?:\.\d+)?))?$/.exec(text) ?? [];
    if (model === undefined) return { wrong: text };
    prices[model] = {
      input: Number(input),
      output: Number(output),
      ...(cachedInput !== undefined && { cachedInput: Number(cachedInput) }),
    };
  }
  return { prices };
}
