// The Worker to compare with, memory off: the least a person would write to put a key in front of a provider.
// Invariant: nothing is read, neither the request's body nor the answer's; both pass through as streams.
export default {
  fetch(request, env) {
    return fetch(`${env.UPSTREAM}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${env.PROVIDER_KEY}`, "content-type": "application/json" },
      body: request.body,
    });
  },
};
