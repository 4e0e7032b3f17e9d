package main

import (
	"errors"
	"time"

	"weir/gateway"
	"weir/policy"
)

// jobSettings say how many jobs run, and how much they may take. What is left out is the default or has no bound.
type jobSettings struct {
	Workers   int                 `koanf:"workers"`   // at once on this node; the number of CPUs and one
	Share     int                 `koanf:"share"`     // of them of one operator; all but one
	Idle      bool                `koanf:"idle"`      // begin none on this node
	Person    int                 `koanf:"person"`    // queued and running, of one person; 20
	Timeout   time.Duration       `koanf:"timeout"`   // of one job; 10m
	Lease     time.Duration       `koanf:"lease"`     // after which another node takes a silent one for dead; 30s
	Retention time.Duration       `koanf:"retention"` // for which an ended job is remembered; 2160h
	Platform  allowanceSettings   `koanf:"platform"`  // of all operators together
	Operator  allowanceSettings   `koanf:"operator"`  // of each operator
	Operators []operatorAllowance `koanf:"operators"` // of single operators, where it is tighter
}

type allowanceSettings struct {
	Running int           `koanf:"running"` // at once
	Queued  int           `koanf:"queued"`  // at once
	CPU     time.Duration `koanf:"cpu"`     // a day
	Read    int64         `koanf:"read"`    // bytes a day
}

type operatorAllowance struct {
	Name              string `koanf:"name"`
	allowanceSettings `koanf:",squash"`
}

// options are the settings as the jobs take them.
func (s jobSettings) options() (gateway.JobOptions, error) {
	zone, err := time.LoadLocation(policy.DefaultZone) // the day of a grant's quota
	if err != nil {
		return gateway.JobOptions{}, err
	}
	single := map[string]gateway.Allowance{}
	for _, o := range s.Operators {
		if _, twice := single[o.Name]; twice || o.Name == "" {
			return gateway.JobOptions{}, errors.New("jobs.operators: a name is missing or there twice")
		}
		single[o.Name] = gateway.Allowance(o.allowanceSettings)
	}
	return gateway.JobOptions{
		Workers: s.Workers, Share: s.Share, Idle: s.Idle, PerAccount: s.Person, Timeout: s.Timeout, Lease: s.Lease, Retention: s.Retention, Zone: zone,
		Platform: gateway.Allowance(s.Platform), Operator: gateway.Allowance(s.Operator), Operators: single,
	}, nil
}
