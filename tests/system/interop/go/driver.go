// tests/system/interop/go/driver.go -- ugorji's codec under net/rpc: a line with a call in, a line with what came of it out, as in
// ../driver.py.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"reflect"
	"unicode/utf8"

	"github.com/ugorji/go/codec"
)

type call struct {
	Method string
	Ask    map[string]any
	Times  int
}

func fromJSON(value any) any {
	switch found := value.(type) {
	case []any:
		for i := range found {
			found[i] = fromJSON(found[i])
		}
	case map[string]any:
		if text, is := found["$bin"].(string); is {
			bytes, err := hex.DecodeString(text)
			if err != nil {
				panic(err)
			}
			return bytes
		}
		for key := range found {
			found[key] = fromJSON(found[key])
		}
	case float64:
		if found == float64(int64(found)) { // JSON has only floats
			return int64(found)
		}
	}
	return value
}

func toJSON(value any) any {
	switch found := value.(type) {
	case string: // or a binary: this codec decodes both to the same type
		if !utf8.ValidString(found) {
			return toJSON([]byte(found))
		}
	case []byte:
		return map[string]any{"$bin": hex.EncodeToString(found)}
	case []any:
		for i := range found {
			found[i] = toJSON(found[i])
		}
	case map[string]any:
		for key := range found {
			found[key] = toJSON(found[key])
		}
	}
	return value
}

func ask(client *rpc.Client, asked call) map[string]any {
	fromJSON(asked.Ask)
	results := make([]map[string]any, asked.Times)
	calls := make([]*rpc.Call, asked.Times)
	for i := range calls {
		calls[i] = client.Go(asked.Method, asked.Ask, &results[i], nil)
	}
	said := []any{}
	for i := range calls {
		if done := <-calls[i].Done; done.Error != nil {
			return map[string]any{"error": done.Error.Error()}
		}
		said = append(said, toJSON(results[i]))
	}
	return map[string]any{"ok": said}
}

func main() {
	connection, err := net.Dial("tcp", net.JoinHostPort(os.Args[1], os.Args[2]))
	if err != nil {
		panic(err)
	}
	handle := codec.MsgpackHandle{WriteExt: true}
	handle.RawToString = true
	handle.MapType = reflect.TypeOf(map[string]any(nil))
	client := rpc.NewClientWithCodec(codec.MsgpackSpecRpc.ClientCodec(connection, &handle))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var asked call
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		text, err := json.Marshal(ask(client, asked))
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}
