// Reads one JSON document where it lies: enough for a policy's settings. The gateway gives well-formed JSON.

const QUOTE = 34, BACKSLASH = 92, COLON = 58, COMMA = 44, OPEN = 123, CLOSE = 125, OPEN_LIST = 91, CLOSE_LIST = 93;

export class Json {
  private at: i32 = 0;

  constructor(private source: string) {}

  /** Goes to the value of `key` in the document, an object; false if it has none. */
  member(key: string): bool {
    this.at = 0;
    if (!this.takes(OPEN)) return false;
    while (this.at < this.source.length) {
      this.space();
      const name = this.text();
      if (name === null || !this.takes(COLON)) return false;
      this.space();
      if (name == key) return true;
      this.skip();
      if (!this.takes(COMMA)) return false;
    }
    return false;
  }

  /** The string that is here; null if it is something else. */
  text(): string | null {
    if (!this.takes(QUOTE)) return null;
    let text = "";
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at++);
      if (c == QUOTE) return text;
      text += c == BACKSLASH ? this.escape() : String.fromCharCode(c);
    }
    return null;
  }

  /** The whole number that is here, if it is not negative; 0 if it is something else. */
  integer(): u64 {
    let value: u64 = 0;
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at);
      if (c == 46 || (c | 32) == 101) return 0;
      if (c < 48 || c > 57) break;
      if (value > (u64.MAX_VALUE - 9) / 10) return 0;
      value = value * 10 + (c - 48);
      this.at++;
    }
    return value;
  }

  private space(): void {
    while (this.at < this.source.length && this.source.charCodeAt(this.at) <= 32) this.at++;
  }

  private takes(c: i32): bool {
    this.space();
    if (this.at >= this.source.length || this.source.charCodeAt(this.at) != c) return false;
    this.at++;
    return true;
  }

  private escape(): string {
    const c = this.source.charAt(this.at++);
    if (c == "n") return "\n";
    if (c == "t") return "\t";
    if (c == "r") return "\r";
    if (c == "b") return "\b";
    if (c == "f") return "\f";
    if (c != "u") return c;
    // a pair of them is two code units here as there
    const code = <i32>I32.parseInt(this.source.substr(this.at, 4), 16);
    this.at += 4;
    return String.fromCharCode(code);
  }

  /** Over a value, with all that is in it. */
  private skip(): void {
    let depth = 0;
    while (this.at < this.source.length) {
      const c = this.source.charCodeAt(this.at);
      if (c == QUOTE) {
        this.text();
        if (depth == 0) return;
        continue;
      }
      if (depth == 0 && (c == COMMA || c == CLOSE || c == CLOSE_LIST)) return;
      this.at++;
      if (c == OPEN || c == OPEN_LIST) depth++;
      if (c == CLOSE || c == CLOSE_LIST) {
        depth--;
        if (depth == 0) return;
      }
    }
  }
}
