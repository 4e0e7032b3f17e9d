package main

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weir/internal/problem"
)

func TestWalletIsItsOwnersAlone(t *testing.T) {
	folder := t.TempDir()
	config := func() (string, error) { return folder, nil }
	w := opened(t, config)
	if err := errors.Join(w.first(session{Server: "https://a", Account: "li", Access: "1"}), w.close()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		"weir": 0o700 | os.ModeDir, "weir/sessions.json": 0o600, "weir/lock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(folder, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), want)
		}
	}
	files, err := os.ReadDir(filepath.Join(folder, "weir"))
	if err != nil || len(files) != 2 {
		t.Errorf("something was left behind: %v %v", files, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(filepath.Join(folder, "weir/sessions.json"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := openWallet(config); err == nil || problem.Of(err).Code != "cli.no-wallet" {
			t.Errorf("a file with mode %v was read: %v", mode, err)
		}
	}
	if err := os.Chmod(filepath.Join(folder, "weir/sessions.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := opened(t, config).close(); err != nil {
		t.Error(err)
	}
}

func TestWalletRefusesALink(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "weir"), 0o700); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "sessions.json")
	if err := errors.Join(os.WriteFile(elsewhere, []byte("[]"), 0o600), os.Symlink(elsewhere, filepath.Join(folder, "weir/sessions.json"))); err != nil {
		t.Fatal(err)
	}
	if _, err := openWallet(func() (string, error) { return folder, nil }); err == nil {
		t.Error("a link was followed")
	}
}

func TestWalletKnowsWhoActs(t *testing.T) {
	folder := t.TempDir()
	config := func() (string, error) { return folder, nil }
	w := opened(t, config)
	for _, s := range []session{
		{Server: "https://a", Account: "li"}, {Server: "https://a", Account: "wang"}, {Server: "https://b", Account: "li", Access: "old"},
	} {
		if err := w.first(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.put(session{Server: "https://b", Account: "li", Access: "new"}), w.close()); err != nil {
		t.Fatal(err)
	}
	w = opened(t, config)
	defer w.close()
	for _, c := range []struct {
		name, server, account string
		want                  session
		found                 bool
	}{
		{"the last used", "", "", session{Server: "https://b", Account: "li", Access: "new"}, true},
		{"the last used there", "https://a", "", session{Server: "https://a", Account: "wang"}, true},
		{"a named account", "", "wang", session{Server: "https://a", Account: "wang"}, true},
		{"a named account there", "https://a", "li", session{Server: "https://a", Account: "li"}, true},
		{"an account that is not signed in there", "https://b", "wang", session{}, false},
		{"a platform where nobody is", "https://c", "", session{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, found := w.find(c.server, c.account); got != c.want || found != c.found {
				t.Errorf("got %v %v", got, found)
			}
		})
	}
	if err := w.drop(session{Server: "https://a", Account: "li"}); err != nil {
		t.Fatal(err)
	}
	if _, found := w.find("https://a", "li"); found || len(w.sessions) != 2 {
		t.Errorf("dropped the wrong session: %v", w.sessions)
	}
}

func TestWalletLetsOneProcessInAtATime(t *testing.T) {
	folder := t.TempDir()
	config := func() (string, error) { return folder, nil }
	var turns sync.WaitGroup
	for range 20 {
		turns.Go(func() {
			w, err := openWallet(config)
			if err != nil {
				t.Error(err)
				return
			}
			defer w.close()
			s, _ := w.find("", "")
			s.Server, s.Account, s.Expires = "https://a", "li", s.Expires.Add(time.Second)
			if err := w.put(s); err != nil {
				t.Error(err)
			}
		})
	}
	turns.Wait()
	w := opened(t, config)
	defer w.close()
	if s, _ := w.find("", ""); s.Expires.Sub(time.Time{}) != 20*time.Second {
		t.Errorf("a change was lost: %v", s.Expires)
	}
}

func opened(t *testing.T, config func() (string, error)) *wallet {
	t.Helper()
	w, err := openWallet(config)
	if err != nil {
		t.Fatal(err)
	}
	return w
}
