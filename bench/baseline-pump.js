// The Worker to compare with where an answer is watched: the least that has each chunk pass through a Worker's own code.
// Invariant: nothing is read of a chunk; each is written as it came, and written before the next is asked for.
export default {
  async fetch(request, env, context) {
    const answer = await fetch(`${env.UPSTREAM}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${env.PROVIDER_KEY}`, "content-type": "application/json" },
      body: request.body,
    });
    const pipe = new IdentityTransformStream();
    context.waitUntil(pump(answer.body.getReader(), pipe.writable.getWriter()));
    return new Response(pipe.readable, answer);
  },
};

async function pump(reader, writer) {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return writer.close();
    await writer.write(value);
  }
}
