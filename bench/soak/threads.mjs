// Owns what is left of a soak's turns in its threads.
// Invariant: a turn is lost that its client saw whole and its thread does not have, and doubled where it has it twice.

/** How many threads are read at a time. */
const AT_A_TIME = 8;

/** What the threads kept, against what their clients saw. */
export async function lostTurns(base, key, threads) {
  const counted = { lost: 0, doubled: 0, unread: 0 };
  const left = threads.filter(({ asked }) => asked > 0).values();
  const readOn = async () => {
    for (const thread of left) await count(thread);
  };
  const count = async (thread) => {
    const answer = await fetch(`${base}/v1/memory/threads/${thread.id}/messages?limit=200`, {
      headers: { authorization: `Bearer ${key}` },
    });
    if (!answer.ok) {
      counted.unread++;
      return;
    }
    const { messages } = await answer.json();
    const answers = messages.filter(
      ({ role, status }) => role === "assistant" && status !== "incomplete",
    ).length;
    const questions = new Set();
    for (const { role, content } of messages) {
      if (role !== "user") continue;
      const said = JSON.stringify(content);
      if (questions.has(said)) counted.doubled++;
      questions.add(said);
    }
    counted.lost += Math.max(0, thread.whole - answers) + Math.max(0, thread.whole - questions.size);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, readOn));
  return counted;
}
