// Reads an OpenAPI document on stdin: is it valid, and does openapi-typescript make types of it?
import { Validator } from "@seriousme/openapi-schema-validator";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const document = JSON.parse(Buffer.concat(chunks).toString());

const { valid, errors } = await new Validator().validate(structuredClone(document));
if (!valid) {
  console.log(JSON.stringify({ valid, errors: String(JSON.stringify(errors)) }));
  process.exit(0);
}
const types = astToString(await openapiTS(structuredClone(document)));

const name = "types.ts";
const options = { strict: true, noEmit: true, types: [], lib: ["lib.es2022.d.ts"] };
const host = ts.createCompilerHost(options);
const read = host.getSourceFile;
host.getSourceFile = (file, ...more) =>
  file === name ? ts.createSourceFile(file, types, ts.ScriptTarget.ES2022) : read(file, ...more);
const problems = ts
  .getPreEmitDiagnostics(ts.createProgram([name], options, host))
  .map((problem) => ts.flattenDiagnosticMessageText(problem.messageText, "\n"));
console.log(JSON.stringify({ valid, problems, types }));
