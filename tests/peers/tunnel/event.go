// Package tunnel is one end of a tunnel's QUIC, with the settings of the Go programs, and what the
// tests have it do over streams. It tells what happens as lines of JSON.
package tunnel

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Fields of an event.
type Fields map[string]any

var stdout sync.Mutex

// Tell prints an event as one line.
func Tell(event string, fields Fields) {
	line := Fields{"event": event}
	for name, value := range fields {
		line[name] = value
	}
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	stdout.Lock()
	defer stdout.Unlock()
	fmt.Fprintf(os.Stdout, "%s\n", text)
}

// Fail prints why nothing more can be done, and ends the program.
func Fail(doing string, err error) {
	Tell("failed", Fields{"doing": doing, "why": err.Error()})
	os.Exit(1)
}
