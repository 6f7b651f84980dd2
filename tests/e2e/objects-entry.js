// The Worker with a door to its objects: `/objects/BINDING/NAME/PATH` goes to the object of that name, past everything that
// a client has to pass. For the tests of objects that no route of the gateway leads to by itself.
// Invariant: everything else is the Worker's own.
import worker from "../../src/platform/entry.js";

export * from "../../src/platform/entry.js";

export default {
  fetch(request, env, context) {
    const url = new URL(request.url);
    const [, door, binding, name, ...path] = url.pathname.split("/");
    if (door !== "objects") return worker.fetch(request, env, context);
    url.pathname = `/${path.join("/")}`;
    return env[binding].getByName(decodeURIComponent(name)).fetch(new Request(url, request));
  },
};
