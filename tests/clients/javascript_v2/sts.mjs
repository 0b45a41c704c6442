// The AWS SDK for JavaScript v2: one client for all calls, with the default chain of Node.

import { require, run } from "../javascript/calls.mjs";

const AWS = require("aws-sdk");

let client;
await run(async () => {
  // This SDK does not read the endpoint from the environment.
  client ??= new AWS.STS({ endpoint: process.env.AWS_ENDPOINT_URL });
  const answer = await client.getCallerIdentity().promise();
  return answer.Arn;
});
