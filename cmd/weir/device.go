package main

import (
	"errors"
	"path/filepath"
	"slices"

	"weir/internal/problem"
)

// device is the secret by which a platform knows this machine as one of an account's own. It outlives sessions: whoever
// signs in with it does not wait for what others tried under the same name.
type device struct {
	Server  string `json:"server"`
	Account string `json:"account"`
	Secret  string `json:"secret"`
}

const devicesFile = "devices.json"

// knownAs gives the secret for an account on a server, or nil where the two have not met.
func knownAs(t *terminal, server, account string) (*string, error) {
	w, err := openWallet(t.config)
	if err != nil {
		return nil, err
	}
	devices, err := w.devices()
	if err = errors.Join(err, w.close()); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(devices, func(d device) bool { return d.Server == server && d.Account == account }); i >= 0 {
		return &devices[i].Secret, nil
	}
	return nil, nil
}

func (w *wallet) devices() ([]device, error) {
	var all []device
	if err := readPrivate(filepath.Join(filepath.Dir(w.path), devicesFile), &all); err != nil {
		return nil, problem.New("cli.no-wallet").Because(err)
	}
	return all, nil
}

// remember keeps the secret that a sign-in gave.
func (w *wallet) remember(d device) error {
	all, err := w.devices()
	if err != nil || d.Secret == "" || slices.Contains(all, d) {
		return err
	}
	all = slices.DeleteFunc(all, func(o device) bool { return o.Server == d.Server && o.Account == d.Account })
	return writePrivate(filepath.Join(filepath.Dir(w.path), devicesFile), append(all, d))
}
