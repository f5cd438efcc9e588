// tests/system/porcupine/main.go -- histories of single keys, judged by porcupine: a second opinion on tests/system/histories.py.
//
// A line of the input is a call: {"key", "kind", "begun", "ended", "value", "was", "done"}; times in nanoseconds, "ended" null where the
// outcome is not known, "value" null for a key that is not there, "done" null where it is not known. Each key that no order explains is a
// line of the output. Exit 0: there is none; 1: there are some; 2: the input is none; 3: some key was not decided in time.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const lineBytesMax = 1 << 20

type call struct {
	Key   *int64 `json:"key"`
	Kind  string `json:"kind"`
	Begun *int64 `json:"begun"`
	Ended *int64 `json:"ended"`
	Value *int64 `json:"value"`
	Was   *int64 `json:"was"`
	Done  *bool  `json:"done"`
}

// What a key holds: a number, or nothing.
type held struct {
	there bool
	value int64
}

func heldOf(value *int64) held {
	if value == nil {
		return held{}
	}
	return held{true, *value}
}

// Whether the call may happen to a key that holds this, and what the key holds then.
func (c *call) after(now held) (bool, held) {
	would, then := true, heldOf(c.Value)
	switch c.Kind {
	case "get":
		return then == now, now
	case "put":
		return true, then
	case "insert":
		would = !now.there
	case "delete":
		would, then = now.there, held{}
	case "swap":
		would = now == heldOf(c.Was)
	}
	fits := c.Done == nil || *c.Done == would
	if would {
		return fits, then
	}
	return fits, now
}

// A call whose outcome is not known has no end. It may as well be the last of all, where it does not matter whether it happened.
var register = porcupine.Model{
	Init: func() interface{} { return held{} },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		fits, then := input.(*call).after(state.(held))
		return fits, then
	},
}

func (c *call) check() error {
	switch c.Kind {
	case "get", "put", "insert", "delete", "swap":
	default:
		return fmt.Errorf("kind is %q", c.Kind)
	}
	if c.Key == nil || c.Begun == nil {
		return fmt.Errorf("it has no key, or no begun")
	}
	if c.Ended != nil && *c.Ended < *c.Begun {
		return fmt.Errorf("it ended at %d, before it began at %d", *c.Ended, *c.Begun)
	}
	return nil
}

func read(from io.Reader) (map[int64][]porcupine.Operation, error) {
	byKey := map[int64][]porcupine.Operation{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, lineBytesMax)
	for number := 1; lines.Scan(); number++ {
		c := &call{}
		err := json.Unmarshal(lines.Bytes(), c)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %v", number, err)
		}
		if c.Ended == nil && c.Kind == "get" {
			continue // it says nothing and does nothing
		}
		end := int64(math.MaxInt64)
		if c.Ended != nil {
			end = *c.Ended
		}
		byKey[*c.Key] = append(byKey[*c.Key], porcupine.Operation{ClientId: len(byKey[*c.Key]), Input: c, Call: *c.Begun, Return: end})
	}
	return byKey, lines.Err()
}

func judge(byKey map[int64][]porcupine.Operation, patience time.Duration) int {
	keys := make([]int64, 0, len(byKey))
	for key := range byKey {
		keys = append(keys, key)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i] < keys[j] })
	code := 0
	for _, key := range keys {
		switch porcupine.CheckOperationsTimeout(register, byKey[key], patience) {
		case porcupine.Illegal:
			fmt.Printf("key %d: no order explains its %d calls\n", key, len(byKey[key]))
			code = 1
		case porcupine.Unknown:
			fmt.Printf("key %d: not decided within %v\n", key, patience)
			if code == 0 {
				code = 3
			}
		}
	}
	return code
}

func main() {
	byKey, err := read(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(judge(byKey, time.Minute))
}
