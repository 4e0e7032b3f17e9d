package seal

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Program is a master key that a program keeps to itself: the client of a KMS or of an HSM, which whoever runs the
// platform brings. It is started anew for each key, without a shell and with nothing of the platform's environment:
//
//	PROGRAM key          prints the name of the key that wraps now, as one line
//	PROGRAM wrap NAME    reads base64 (RFC 4648) of 64 bytes, prints base64 of them wrapped
//	PROGRAM unwrap NAME  reads base64 of what was wrapped, prints base64 of what it was
//
// It ends with 0, with 3 where it does not know the name, or with anything else where it failed. What it says on standard
// error goes nowhere, since that could be a key. It must not be trusted to authenticate: what comes back is
// checked here, together with its purpose.
type Program struct {
	path  string
	limit time.Duration
	id    string
}

// Bounds of a program of a master key.
const (
	programLimit  = 10 * time.Second
	programOutput = 16 << 10 // bytes
	programNoKey  = 3        // exit status
)

// ErrUnavailable is a program of a master key that cannot be run, does not answer in time, or answers nonsense.
var ErrUnavailable = errors.New("the program of the master key failed")

var programKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@+=-]{0,199}$`)

// OpenProgram asks the program at an absolute path for the name of its key. Nobody but its owner, who is root or the
// platform's user, may be able to write to it.
func OpenProgram(ctx context.Context, path string) (*Program, error) {
	p := &Program{path: path, limit: programLimit}
	said, err := p.run(ctx, "", "key")
	if err != nil {
		return nil, err
	}
	if !programKey.MatchString(said) {
		return nil, fmt.Errorf("%w: it does not name its key", ErrUnavailable)
	}
	p.id = said
	return p, nil
}

// KeyID is the name of the key that wraps, as of when the program was opened.
func (p *Program) KeyID() string { return p.id }

// Wrap has the program wrap a key, and with it what binds the key to its purpose.
func (p *Program) Wrap(ctx context.Context, key []byte, purpose Purpose) ([]byte, error) {
	wrapped, err := p.ask(ctx, "wrap", p.id, append(bytes.Clone(key), bindingOf(key, purpose)...))
	if err != nil {
		return nil, err
	}
	if bytes.Contains(wrapped, key) {
		return nil, fmt.Errorf("%w: it wraps nothing", ErrUnavailable)
	}
	// What cannot be opened again would be data that are lost: better an import that fails.
	if back, err := p.Unwrap(ctx, p.id, wrapped, purpose); err != nil || !hmac.Equal(back, key) {
		return nil, errors.Join(fmt.Errorf("%w: it does not open what it has wrapped", ErrUnavailable), err)
	}
	return wrapped, nil
}

// Unwrap has the program open what a key of its wrapped.
func (p *Program) Unwrap(ctx context.Context, id string, wrapped []byte, purpose Purpose) ([]byte, error) {
	if !programKey.MatchString(id) {
		return nil, fmt.Errorf("%w: %s", ErrUnknownMaster, id)
	}
	opened, err := p.ask(ctx, "unwrap", id, wrapped)
	if err != nil {
		return nil, err
	}
	if len(opened) != KeySize+sha256.Size {
		return nil, ErrBroken
	}
	key, binding := opened[:KeySize], opened[KeySize:]
	if !hmac.Equal(binding, bindingOf(key, purpose)) {
		return nil, ErrBroken
	}
	return key, nil
}

// bindingOf is what only this key has for this purpose.
func bindingOf(key []byte, purpose Purpose) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("weir data key for " + purpose))
	return mac.Sum(nil)
}

func (p *Program) ask(ctx context.Context, verb, id string, text []byte) ([]byte, error) {
	said, err := p.run(ctx, base64.StdEncoding.EncodeToString(text)+"\n", verb, id)
	if err != nil {
		return nil, err
	}
	answer, err := base64.StdEncoding.DecodeString(said)
	if err != nil || len(answer) == 0 {
		return nil, fmt.Errorf("%w: its answer is no base64", ErrUnavailable)
	}
	return answer, nil
}

// run starts the program and gives what it said, without white space around. When its time is over it is killed, with
// all that it has started.
func (p *Program) run(ctx context.Context, input string, words ...string) (string, error) {
	if err := checkProgram(p.path); err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	ctx, done := context.WithTimeout(ctx, p.limit)
	defer done()
	cmd := exec.CommandContext(ctx, p.path, words...)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, "/"
	cmd.Stdin = strings.NewReader(input)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said := &bounded{most: programOutput}
	cmd.Stdout = said
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() == programNoKey && len(words) > 1:
		return "", fmt.Errorf("%w: %s", ErrUnknownMaster, words[1])
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return strings.TrimSpace(said.String()), nil
}

// checkProgram refuses a program that somebody else could exchange.
func checkProgram(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("its path is not absolute")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return errors.New("it is not an executable file")
	case info.Mode().Perm()&0o022 != 0 || !known || owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return errors.New("others than root and the platform's user can write to it")
	}
	return nil
}

// bounded keeps what is written to it, and fails where that is too much.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(text []byte) (int, error) {
	if b.Len()+len(text) > b.most {
		return 0, io.ErrShortBuffer
	}
	return b.Buffer.Write(text)
}

// Followed is a master key after others, which only unwrap: what they have wrapped is opened until all is wrapped by
// the first.
type Followed struct {
	Master
	Earlier Master
}

// Unwrap opens what the first or an earlier key has wrapped.
func (f Followed) Unwrap(ctx context.Context, id string, wrapped []byte, p Purpose) ([]byte, error) {
	key, err := f.Earlier.Unwrap(ctx, id, wrapped, p)
	if errors.Is(err, ErrUnknownMaster) {
		return f.Master.Unwrap(ctx, id, wrapped, p)
	}
	return key, err
}
