// Moves the chunks of a stream from a reader to a writer, and has Rust look at them on the way. A promise that Rust awaits
// costs as much as a chunk itself; here it awaits one for the whole stream. Invariant: chunks go on in their order, each when
// the one before it is taken; Rust sees every byte once, and none after it said stop.

export class Conveyor {
  #reader;
  #writer;
  /** The reader's next word, where it was asked for it already. */
  #ahead;
  #stopped = false;
  /** When the last chunk went on, in Unix milliseconds. */
  #last = 0;
  /** True while the writer has a chunk that it has not taken yet. */
  isWriting = false;

  /** `first` is what was read before, if anything was. */
  constructor(reader, writer, first) {
    this.#reader = reader;
    this.#writer = writer;
    if (first) this.#ahead = Promise.resolve(first);
  }

  /** Lets the stream lie where it is; what was asked of the reader or the writer may still come to its end. */
  stop() {
    this.#stopped = true;
  }

  /**
   * Moves on until the stream has "ended" or is "cut", the client is "gone", or `take` has "paused" or "failed". `take` gets
   * the bytes and says what goes on: undefined, they; bytes, these; null, nothing, for Rust has something to do first.
   *
   * Chunks that come within `burst` milliseconds of the last one are gathered for as long, `most` bytes of them: handing a chunk
   * on costs the same whatever its length.
   */
  async run(take, burst, most) {
    this.#stopped = false;
    for (;;) {
      let bytes;
      try {
        const { done, value } = await this.#next();
        if (this.#stopped) return "stopped";
        if (done) return "ended";
        bytes = Date.now() - this.#last < burst ? await this.#gathered(value, burst, most) : value;
      } catch {
        return "cut";
      }
      if (this.#stopped) return "stopped";
      this.#last = Date.now();
      try {
        const other = take(bytes);
        if (other === null) return "paused";
        if (other) bytes = other;
      } catch (error) {
        // As from one of Rust's own tasks: entry.js listens for what ends the wasm instance.
        reportError(error);
        return "failed";
      }
      if (bytes.byteLength === 0) continue;
      this.isWriting = true;
      try {
        await this.#writer.write(bytes);
      } catch {
        return "gone";
      }
      this.isWriting = false;
      if (this.#stopped) return "stopped";
    }
  }

  #next() {
    const next = this.#ahead ?? this.#reader.read();
    this.#ahead = undefined;
    return next;
  }

  /** A chunk and those that come within `ms` milliseconds, as one. */
  async #gathered(chunk, ms, most) {
    const pieces = [chunk];
    let length = chunk.byteLength;
    let timer;
    const over = new Promise((resolve) => (timer = setTimeout(resolve, ms)));
    while (length < most) {
      this.#ahead = this.#reader.read();
      // How the stream ends or breaks is the next word, not this one's.
      const read = await Promise.race([this.#ahead, over]).catch(() => {});
      if (!read || read.done) break;
      this.#ahead = undefined;
      pieces.push(read.value);
      length += read.value.byteLength;
    }
    clearTimeout(timer);
    return joined(pieces, length);
  }
}

/** Several pieces as one, of `length` bytes together. */
export function joined(pieces, length) {
  if (pieces.length === 1) return pieces[0];
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}
