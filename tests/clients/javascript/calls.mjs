// What the JavaScript clients share: they call AWS as often as the command line says, as
// `../python/calls.py` does. Packages are found below the folder that `BRS_TESTS_PACKAGES` names,
// since Node looks for them beside a script otherwise.

import { createRequire } from "node:module";

export const require = createRequire(`${process.env.BRS_TESTS_PACKAGES}/`);

/** Calls one after another; whoever answers sets the pace. */
export async function run(call) {
  let failures = 0;
  for (let left = Number(process.argv[2]); left > 0; left -= 1) {
    try {
      console.log(`ok ${await call()}`);
    } catch (error) {
      failures += 1;
      console.log(`failed ${error.name}: ${String(error.message).replaceAll("\n", " ")}`);
    }
  }
  process.exitCode = failures > 0 ? 1 : 0;
}
