// The JavaScript SDK, one command per process: node client.cjs COMMAND '{"argument": ...}'.
// What a command returns is printed as JSON; a failure of the service is {"failed": code, "status": status}.
//
// CommonJS, since only `require` looks for packages in NODE_PATH.
"use strict";

const { createHash } = require("node:crypto");
const { createReadStream, createWriteStream, readFileSync } = require("node:fs");
const { Readable } = require("node:stream");
const { pipeline } = require("node:stream/promises");
const s3 = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");
const { getSignedUrl } = require("@aws-sdk/s3-request-presigner");

const client = new s3.S3Client({
  endpoint: process.env.ENDPOINT,
  region: "us-east-1",
  forcePathStyle: true,
  maxAttempts: 1,
  credentials: { accessKeyId: process.env.KEY, secretAccessKey: process.env.SECRET },
});

// A stream without a length: it is read as it comes and cannot be read again.
function unsized(path) {
  async function* pieces() {
    for await (const piece of createReadStream(path, { highWaterMark: 50_000 })) yield piece;
  }
  return Readable.from(pieces());
}

async function digest(body) {
  const hash = createHash("sha256");
  for await (const piece of body) hash.update(piece);
  return hash.digest("hex");
}

const commands = {
  // Any operation of the client, by its name.
  async send({ operation, input }) {
    const { $metadata, Body, ...output } = await client.send(new s3[`${operation}Command`](input));
    return output;
  },

  async put({ bucket, key, path, ...more }) {
    return commands.send({ operation: "PutObject", input: { Bucket: bucket, Key: key, Body: readFileSync(path), ...more } });
  },

  // Sent as aws-chunked inside Transfer-Encoding: chunked, its length given for decoding only.
  async putStream({ bucket, key, path, length, ...more }) {
    let sent = {};
    const noting = (next) => async (arguments_) => {
      sent = { ...arguments_.request.headers };
      return next(arguments_);
    };
    client.middlewareStack.add(noting, { step: "finalizeRequest", priority: "low", name: "noting" });
    const input = { Bucket: bucket, Key: key, Body: unsized(path), ContentLength: length, ...more };
    await client.send(new s3.PutObjectCommand(input));
    return { sent };
  },

  // Parts are cut from a stream of unknown length.
  async upload({ bucket, key, path, ...more }) {
    const upload = new Upload({ client, params: { Bucket: bucket, Key: key, Body: unsized(path), ...more } });
    const { $metadata, ...output } = await upload.done();
    return output;
  },

  async get({ bucket, key, ...more }) {
    const { $metadata, Body, ...output } = await client.send(
      new s3.GetObjectCommand({ Bucket: bucket, Key: key, ...more }),
    );
    return { ...output, sha256: await digest(Body) };
  },

  async save({ bucket, key, path }) {
    const { Body } = await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key: key }));
    await pipeline(Body, createWriteStream(path));
    return {};
  },

  // Stores the file under every key, reads each back, and lists what there is.
  async keys({ bucket, keys, path }) {
    const body = readFileSync(path);
    const read = {};
    for (const key of keys) {
      await client.send(new s3.PutObjectCommand({ Bucket: bucket, Key: key, Body: body }));
      const { Body } = await client.send(new s3.GetObjectCommand({ Bucket: bucket, Key: key }));
      read[key] = await digest(Body);
    }
    return { read, listed: await commands.list({ bucket }) };
  },

  async list({ bucket, ...more }) {
    const found = [];
    for await (const page of s3.paginateListObjectsV2({ client, pageSize: 7 }, { Bucket: bucket, ...more }))
      found.push(...(page.Contents ?? []).map((entry) => entry.Key));
    return found;
  },

  async presign({ operation, input, expires }) {
    return { url: await getSignedUrl(client, new s3[`${operation}Command`](input), { expiresIn: expires ?? 60 }) };
  },

  // Removes everything in a bucket, a page at a time.
  async empty({ bucket }) {
    let removed = 0;
    for await (const page of s3.paginateListObjectsV2({ client, pageSize: 5 }, { Bucket: bucket })) {
      if (!page.Contents) continue;
      const Objects = page.Contents.map(({ Key }) => ({ Key }));
      const { Deleted, Errors } = await client.send(new s3.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects } }));
      if (Errors) throw new Error(JSON.stringify(Errors));
      removed += Deleted.length;
    }
    return { removed };
  },
};

async function main([command, argument]) {
  try {
    return await commands[command](JSON.parse(argument));
  } catch (error) {
    if (error.$metadata?.httpStatusCode === undefined) throw error;
    return { failed: error.name, status: error.$metadata.httpStatusCode };
  }
}

main(process.argv.slice(2)).then((output) => process.stdout.write(JSON.stringify(output)));
