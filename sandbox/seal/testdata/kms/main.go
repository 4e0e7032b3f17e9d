// Command kms is a master key that a program keeps, for tests. It stands for the client of a real one. Its keys lie in
// keys.json beside it, by name; file "mood" beside it says how it behaves.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"weir/sandbox/seal"
)

const noKey = 3

type keys struct {
	Now string
	All map[string]string // 64 hexadecimal digits each
}

func main() {
	self, err := os.Executable()
	must(err)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(self), "keys.json"))
	must(err)
	var k keys
	must(json.Unmarshal(text, &k))
	mood, _ := os.ReadFile(filepath.Join(filepath.Dir(self), "mood"))
	if len(os.Environ()) != 1 {
		os.Exit(9) // it was told more than its way to other programs
	}
	if string(mood) == "echo" {
		io.Copy(os.Stdout, os.Stdin)
		return
	}
	said := string(answer(k))
	switch string(mood) {
	case "slow":
		hang := exec.Command(self, "hang") // a child that holds its output open
		if len(os.Args) > 1 && os.Args[1] == "hang" {
			time.Sleep(time.Hour)
		}
		hang.Stdout = os.Stdout
		must(hang.Run())
	case "garbage":
		said = "<html>502</html>"
	case "endless":
		io.Copy(os.Stdout, bytes.NewReader(make([]byte, 1<<20)))
	case "silent":
		said = ""
	case "another":
		said = base64.StdEncoding.EncodeToString(make([]byte, 64))
	case "short":
		said = base64.StdEncoding.EncodeToString(make([]byte, 32))
	case "fail":
		fmt.Println(said)
		os.Exit(1)
	}
	fmt.Println(said)
}

func answer(k keys) []byte {
	if len(os.Args) < 3 {
		return []byte(k.Now)
	}
	hex, known := k.All[os.Args[2]]
	if !known {
		os.Exit(noKey)
	}
	key, err := seal.ParseKey(hex)
	must(err)
	line, err := io.ReadAll(os.Stdin)
	must(err)
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(line)))
	must(err)
	if os.Args[1] == "wrap" {
		return []byte(base64.StdEncoding.EncodeToString(key.Wrap(text, "kms")))
	}
	opened, err := key.Unwrap(text, "kms")
	must(err)
	return []byte(base64.StdEncoding.EncodeToString(opened))
}

func must(err error) {
	if err != nil {
		os.Exit(1)
	}
}
