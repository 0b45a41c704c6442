// The AWS SDK for JavaScript v3: one client for all calls, with the default provider of Node.

import { require, run } from "./calls.mjs";

const { GetCallerIdentityCommand, STSClient } = require("@aws-sdk/client-sts");

let client;
await run(async () => {
  client ??= new STSClient({});
  const answer = await client.send(new GetCallerIdentityCommand({}));
  return answer.Arn;
});
