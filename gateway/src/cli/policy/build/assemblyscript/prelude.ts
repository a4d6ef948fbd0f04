/** A plain value that may be missing: `Box<u64> | null`. */
export class Box<T> {
  constructor(public value: T) {}
}

/** Two values: a header's name and value, say. */
export class Tuple2<A, B> {
  constructor(public f0: A, public f1: B) {}
}

/** A value or an error; one of them is null. */
export class Result<T, E> {
  constructor(public value: Box<T> | null, public error: Box<E> | null) {}
  static ofValue<T, E>(value: T): Result<T, E> {
    return new Result<T, E>(new Box<T>(value), null);
  }
  static ofError<T, E>(error: E): Result<T, E> {
    return new Result<T, E>(null, new Box<E>(error));
  }
  get isOk(): bool {
    return this.value !== null;
  }
  /** The value; of an error the policy fails. */
  unwrap(): T {
    return this.value!.value;
  }
}

/** A failed assertion or an uncaught error: the gateway sees a trap, and `on_fault` of its configuration decides. */
export function failed(message: string | null, file: string | null, line: u32, column: u32): void {
  unreachable();
}

/** So many bytes of this call, which the collector takes after it. */
function room(size: usize): usize {
  return size == 0 ? 8 : changetype<usize>(new ArrayBuffer(<i32>size));
}

/** What the gateway asks for to write a result into. */
export function reallocate(old: usize, had: usize, size: usize): usize {
  const at = room(size);
  if (old != 0 && had != 0) memory.copy(at, old, min(had, size));
  return at;
}

/** Calls until the collector runs: it costs some microseconds. */
const CALLS_PER_COLLECTION = 64;
let calls = 0;

/** After a call, when nothing is on the stack: only what the policy's own variables hold is kept. */
export function settle(): void {
  if (++calls < CALLS_PER_COLLECTION) return;
  calls = 0;
  __collect();
}

/** How long the text is that was lent last. */
let lent: i32 = 0;

/** A text for the gateway to read during one call. */
function lend(text: string): i32 {
  const bytes = String.UTF8.encode(text);
  lent = bytes.byteLength;
  return changetype<i32>(bytes);
}

export function textAt(at: i32, length: i32): string {
  return String.UTF8.decodeUnsafe(at, length);
}

export function bytesAt(at: i32, length: i32): ArrayBuffer {
  const bytes = new ArrayBuffer(length);
  memory.copy(changetype<usize>(bytes), at, length);
  return bytes;
}

export function loadString(p: usize): string {
  return textAt(load<i32>(p), load<i32>(p, 4));
}

export function loadBytes(p: usize): ArrayBuffer {
  return bytesAt(load<i32>(p), load<i32>(p, 4));
}

export function storeString(p: usize, text: string): void {
  storeBytes(p, String.UTF8.encode(text));
}

export function storeBytes(p: usize, bytes: ArrayBuffer): void {
  store<usize>(p, changetype<usize>(bytes));
  store<i32>(p, bytes.byteLength, 4);
}
