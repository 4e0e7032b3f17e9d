package isolate

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// verify asks the kernel whether the layers hold. What it has no answer for is tried.
func verify(layers Layers, limits Limits) error {
	var signal int32
	if err := unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&signal)), 0, 0, 0); err != nil || signal != int32(unix.SIGKILL) {
		return fmt.Errorf("%w: %w", errOutlives, errors.Join(err))
	}
	for _, check := range []struct {
		layer Layer
		holds func() error
	}{
		{Processes, func() error { return must(unix.Getpid() == 1, "it is not the first process of its own") }},
		{Network, verifyNetwork},
		{Hostname, verifyHostname},
		{Root, verifyRoot},
		{Capabilities, verifyCapabilities},
		{Privileges, func() error { return verifyPrctl(unix.PR_GET_NO_NEW_PRIVS, 1) }},
		{Memory, func() error { return verifyPrctl(unix.PR_GET_MDWE, unix.PR_MDWE_REFUSE_EXEC_GAIN) }},
		{Landlock, verifyLandlock},
		{Resources, limits.verify},
	} {
		if !layers.Has(check.layer) {
			continue
		}
		if err := check.holds(); err != nil {
			return missing(check.layer, err)
		}
	}
	return nil
}

// verifyNamespaces checks that the process is not in the platform's. It is for the first pass, which still has a
// /proc to look at.
func verifyNamespaces(cell Cell) error {
	own, err := ownNamespaces()
	if err != nil {
		return err
	}
	for layer := range namespaces {
		if cell.Layers.Has(layer) && (cell.Outside[layer] == "" || own[layer] == cell.Outside[layer]) {
			return missing(layer, errors.New("it is the platform's own"))
		}
	}
	return nil
}

func must(holds bool, otherwise string) error {
	if !holds {
		return errors.New(otherwise)
	}
	return nil
}

func verifyPrctl(option, want int) error {
	got, err := unix.PrctlRetInt(option, 0, 0, 0, 0)
	if err != nil || got != want {
		return fmt.Errorf("the kernel says %d: %w", got, errors.Join(err))
	}
	return nil
}

func verifyHostname() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	return must(unix.ByteSliceToString(name.Nodename[:]) == hostname, "it has the machine's name")
}

// verifyNetwork checks that there is one interface and that it is down, which a new network has and no other.
func verifyNetwork() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	return must(request.Uint16()&unix.IFF_UP == 0, "a network interface is up")
}
