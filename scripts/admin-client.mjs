// Owns the way to a gateway's management API: where it is, with which token, and what its refusals say.
// Invariant: the token goes to the named gateway only and is never printed; every failure is told with what to do.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readDevVars } from "./dev-vars.mjs";
import { stateOf } from "./paths.mjs";
import { Stop } from "./say.mjs";

/** The file in a local gateway's state folder that holds its token, made by `npm start`. */
export const TOKEN_FILE = "admin-token";

/** The gateway that is meant, and its token: `url`, GATEWAY_URL or the local one; ADMIN_TOKEN or the local one's. */
export function readTarget({ url, environment = process.env, file = readDevVars() } = {}) {
  const port = environment.PORT || file.PORT || "8787";
  const local = `http://127.0.0.1:${port}`;
  const address = (url || environment.GATEWAY_URL || local).replace(/\/+$/, "").replace(/\/v1$/, "");
  if (!/^https?:\/\//.test(address))
    throw new Stop(`the gateway's address must begin with http:// or https://`);
  const kept = join(stateOf(port), TOKEN_FILE);
  const isLocal = address === local;
  const token =
    environment.ADMIN_TOKEN ||
    (isLocal && file.ADMIN_TOKEN) ||
    (isLocal && existsSync(kept) && readFileSync(kept, "utf8").trim());
  if (token) return { address, token, isLocal };
  throw new Stop(
    isLocal
      ? `no ADMIN_TOKEN, and no gateway was started here on port ${port}: run npm start, or set ADMIN_TOKEN`
      : `set ADMIN_TOKEN in the environment to the secret of the gateway at ${address}`,
  );
}

/** Sends a management request; gives the answer's body. */
export async function ask({ address, token, isLocal }, method, path, body) {
  let answer;
  try {
    answer = await fetch(`${address}/v1/gateway${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
      body: body && JSON.stringify(body),
      redirect: "manual",
    });
  } catch (error) {
    const why = error.cause?.code ?? error.message;
    throw new Stop(
      `nothing answers at ${address} (${why}).\n` +
        (isLocal ? "Start it: npm start" : "Check the address: --url, or GATEWAY_URL"),
    );
  }
  const text = await answer.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Stop(
      `${address} answered ${answer.status}, and not as this gateway does: is it the right address?`,
    );
  }
  if (answer.ok) return json;
  throw Object.assign(new Stop(`${json.error?.message ?? text} (${answer.status})`), {
    status: answer.status,
  });
}
