package storetest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// server starts PostgreSQL once for this process and gives the directory of its socket.
var server = sync.OnceValues(start)

// hold keeps the guardian's standard input open for as long as this process lives.
var hold *os.File

// The guardian starts the server, waits until this process is gone, which it sees by its standard input ending,
// and takes everything down again. So nothing is left behind by a test that panics, times out or is killed.
// fsync stays on: rooms refuse a database that would lose what it acknowledged.
const guardian = `
umask 077
cd "$dir" || exit 1
{
	"$bin/initdb" -D data -U weir -A trust -E UTF8 --locale=C --no-sync &&
	"$bin/pg_ctl" -D data -l server.log -w -t 60 -o "-k '$dir' -c listen_addresses= -c max_connections=200" start
} >start.log 2>&1 </dev/null && echo ready || echo failed
read -r _
"$bin/pg_ctl" -D data -m immediate -w stop >/dev/null 2>&1 </dev/null
cd / && rm -rf "$dir"
`

func start() (string, error) {
	bin, err := installation()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "weir-pg-")
	if err != nil {
		return "", err
	}
	attr := &syscall.SysProcAttr{Setsid: true} // a ^C at the terminal must not kill the guardian first
	if os.Geteuid() == 0 {
		uid, gid, err := unprivileged()
		if err != nil {
			return "", err
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return "", err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	in, out, err := os.Pipe()
	if err != nil {
		return "", err
	}
	cmd := exec.Command("sh", "-c", guardian)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "bin=" + bin, "dir=" + dir}
	cmd.Dir, cmd.SysProcAttr, cmd.Stdin = "/", attr, in
	answer, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("start the server's guardian: %w", err)
	}
	in.Close()
	hold = out
	if word, _ := bufio.NewReader(answer).ReadString('\n'); strings.TrimSpace(word) != "ready" {
		log, _ := os.ReadFile(filepath.Join(dir, "start.log"))
		more, _ := os.ReadFile(filepath.Join(dir, "server.log"))
		hold.Close()
		return "", fmt.Errorf("the server does not start:\n%s%s", log, more)
	}
	return dir, nil
}

// installation finds the newest PostgreSQL in the place where Debian puts its versions, or else on the path.
func installation() (string, error) {
	newest, bin := -1, ""
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	for _, path := range found {
		dir := filepath.Dir(path)
		if version, err := strconv.Atoi(filepath.Base(filepath.Dir(dir))); err == nil && version > newest {
			newest, bin = version, dir
		}
	}
	if bin != "" {
		return bin, nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("not installed (no initdb under /usr/lib/postgresql/*/bin or on the path)")
	}
	return filepath.Dir(path), nil
}

// unprivileged is a user that root can become, since PostgreSQL refuses to run as root.
func unprivileged() (uid, gid int, err error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return 0, 0, err
		}
		return uid, gid, nil
	}
	return 0, 0, errors.New("running as root, and there is neither a user postgres nor nobody to run the server as")
}
