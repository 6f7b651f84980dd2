// Owns: the conveyor that moves a stream's chunks, tried with Node's own streams: no gateway and no runtime around it.
// Invariant: what a test waits for is a promise of the stream's or of the conveyor's, never a clock.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Conveyor, joined } from "../../src/platform/conveyor.js";

const bytes = (text) => new TextEncoder().encode(text);
const text = (bytes) => new TextDecoder().decode(bytes);

/** Long enough that whatever is at hand is gathered, however busy the machine. */
const AGES = 60_000;
const MOST = 64 * 1024;

/** A source whose chunks a test gives, and a client that takes as many as it is told to. */
function stream({ takes = Infinity, first } = {}) {
  let source;
  const readable = new ReadableStream({
    start: (controller) => (source = controller),
    cancel: (why) => (state.cancelled = why),
  });
  const state = { took: [], cancelled: undefined };
  let letTake = () => {};
  const mayTake = () =>
    state.took.length < takes ? undefined : new Promise((resolve) => (letTake = resolve)).then(mayTake);
  const writable = new WritableStream(
    {
      write: async (chunk) => {
        await mayTake();
        state.took.push(text(chunk));
      },
    },
    { highWaterMark: 0 },
  );
  const writer = writable.getWriter();
  const take = (more) => {
    takes += more;
    letTake();
  };
  const conveyor = new Conveyor(readable.getReader(), writer, first);
  return { source, writer, writable, conveyor, state, take };
}

test("chunks go on one by one as they come, and the end of the stream is told", async () => {
  const { source, conveyor, state } = stream();
  const seen = [];
  const moved = conveyor.run((chunk) => void seen.push(text(chunk)), 0, MOST);
  for (const piece of ["a", "b", "c"]) source.enqueue(bytes(piece));
  source.close();
  assert.equal(await moved, "ended");
  assert.deepEqual(
    [seen, state.took],
    [
      ["a", "b", "c"],
      ["a", "b", "c"],
    ],
  );
  assert.equal(conveyor.isWriting, false);
});

test("what was read before goes first", async () => {
  const { source, conveyor, state } = stream({ first: { done: false, value: bytes("first ") } });
  source.enqueue(bytes("second"));
  source.close();
  assert.equal(await conveyor.run(() => undefined, 0, MOST), "ended");
  assert.deepEqual(state.took, ["first ", "second"]);
});

test("chunks that come soon after another are one, up to the bound, and none is lost or changes its place", async () => {
  const { source, conveyor, state } = stream();
  const pieces = Array.from({ length: 100 }, (_, at) => `${at};`);
  for (const piece of pieces) source.enqueue(bytes(piece));
  source.close();
  const seen = [];
  assert.equal(await conveyor.run((chunk) => void seen.push(chunk.byteLength), AGES, 50), "ended");
  assert.equal(state.took.join(""), pieces.join(""));
  // The first comes after a silence; of the rest each holds what reaches the bound and not a chunk more.
  assert.equal(seen[0], pieces[0].length);
  const whole = seen.slice(1, -1);
  assert.ok(whole.length > 3 && whole.every((length) => length >= 50 && length < 54), `${seen}`);
});

test("a chunk that is larger than the bound goes on as it is", async () => {
  const { source, conveyor, state } = stream();
  const large = "x".repeat(1_000);
  for (const piece of ["a", large, "b"]) source.enqueue(bytes(piece));
  source.close();
  assert.equal(await conveyor.run(() => undefined, AGES, 50), "ended");
  assert.deepEqual(state.took, ["a", large, "b"]);
});

test("what comes before a break goes on, and then the break is told", async () => {
  for (const burst of [0, AGES]) {
    const { source, conveyor, state } = stream();
    source.enqueue(bytes("a"));
    const asked = Promise.withResolvers();
    const moved = conveyor.run(
      (chunk) => {
        if (text(chunk) === "a") {
          source.enqueue(bytes("b"));
          source.enqueue(bytes("c"));
        }
        if (text(chunk).endsWith("c") || burst > 0) asked.resolve();
      },
      burst,
      MOST,
    );
    await asked.promise;
    // Behind what is there already: an error would drop it from the stream's queue.
    while (state.took.join("") !== (burst ? "a" : "abc")) await new Promise(setImmediate);
    for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
    source.error(new Error("the provider broke off"));
    assert.equal(await moved, "cut");
    assert.equal(state.took.join(""), "abc");
  }
});

test("no chunk is read while the client has not taken the one before", async () => {
  const { source, conveyor, state, take } = stream({ takes: 1 });
  for (const piece of ["a", "b", "c"]) source.enqueue(bytes(piece));
  source.close();
  let seen = 0;
  const moved = conveyor.run(() => void seen++, 0, MOST);
  while (!(seen === 2 && conveyor.isWriting)) await new Promise(setImmediate);
  for (let turns = 0; turns < 20; turns++) await new Promise(setImmediate);
  assert.deepEqual([seen, state.took, conveyor.isWriting], [2, ["a"], true]);
  take(10);
  assert.equal(await moved, "ended");
  assert.deepEqual([seen, state.took], [3, ["a", "b", "c"]]);
});

test("a client that takes nothing any more is told, and nothing else is looked at", async () => {
  const { source, conveyor, writer } = stream();
  let seen = 0;
  const moved = conveyor.run(
    () => {
      seen++;
      writer.abort("the client left").catch(() => {});
    },
    0,
    MOST,
  );
  writer.closed.catch(() => {});
  for (const piece of ["a", "b"]) source.enqueue(bytes(piece));
  assert.equal(await moved, "gone");
  assert.equal(seen, 1);
});

test("other bytes go on in the place of those that came, or none; paused, all stays where it is until it runs again", async () => {
  const { source, conveyor, state } = stream();
  for (const piece of ["a", "secret", "stop", "b"]) source.enqueue(bytes(piece));
  source.close();
  const take = (chunk) => ({ a: bytes("A"), secret: new Uint8Array(), stop: null })[text(chunk)];
  assert.equal(await conveyor.run(take, 0, MOST), "paused");
  assert.deepEqual(state.took, ["A"]);
  assert.equal(await conveyor.run(take, 0, MOST), "ended");
  assert.deepEqual(state.took, ["A", "b"]);
});

test("once stopped, nothing that comes is looked at", async () => {
  const { source, conveyor, state } = stream();
  let seen = 0;
  const moved = conveyor.run(() => void seen++, 0, MOST);
  conveyor.stop();
  source.enqueue(bytes("a"));
  assert.equal(await moved, "stopped");
  assert.deepEqual([seen, state.took], [0, []]);
});

test("an exception of who looks is reported, and ends the way", async (t) => {
  const reported = [];
  globalThis.reportError = (error) => reported.push(error.message);
  t.after(() => delete globalThis.reportError);
  const { source, conveyor, state } = stream();
  source.enqueue(bytes("a"));
  const fails = () => {
    throw new Error("Critical error");
  };
  assert.equal(await conveyor.run(fails, 0, MOST), "failed");
  assert.deepEqual([reported, state.took], [["Critical error"], []]);
});

test("pieces are joined in their order, and one piece is not copied", () => {
  assert.equal(text(joined([bytes("a"), bytes("bc"), bytes("")], 3)), "abc");
  const one = bytes("a");
  assert.equal(joined([one], 1), one);
});
