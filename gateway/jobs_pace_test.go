package gateway_test

import (
	"encoding/json"
	"testing"
	"time"

	"weir/export"
	"weir/gateway"
	"weir/gateway/gatewaytest"
	"weir/internal/store/storetest"
	"weir/policy"
)

// TestAnswersComeInSteps: under a grant that asks for it, nothing that is told of a job's time is finer than a step,
// whether the job was answered, withheld or refused by the guard.
func TestAnswersComeInSteps(t *testing.T) {
	c := newCity(t)
	p := gatewaytest.New(t, storetest.Open(t, storetest.SQLite(t)), gateway.JobOptions{})
	parts := c.parts
	var err error
	if parts.Filter, err = export.New(make([]byte, 32), p.Queue); err != nil {
		t.Fatal(err)
	}
	p.Policy = c.engine // whose grants the jobs are run under
	p.Replace(t, &gateway.Flow{FlowParts: parts}, gateway.JobOptions{Workers: 3})
	who := gatewaytest.Person("analyst")
	for _, step := range []int{0, 1} {
		g := grantOf(policy.Perturbed)
		g.Operator, g.TimeStep = who.Organisation, step
		grant := c.grant(t, g)
		var jobs []gateway.Job
		for _, sql := range []string{
			flowQueries["finish in the planner"], "SELECT count(*) FROM residents WHERE district = 'd9'", flowQueries["rows of persons"],
		} {
			jobs = append(jobs, submit(t, p.Jobs, who, grant, sql))
		}
		for i, job := range jobs {
			job = wait(t, p.Jobs, job.ID)
			if want := []gateway.JobState{gateway.JobReleased, gateway.JobReleased, gateway.JobDenied}[i]; job.State != want {
				t.Fatalf("job %d is %s: %v", i, job.State, job.Problem)
			}
			took := job.Ended.Sub(job.Started)
			if whole := time.Duration(step) * time.Second; took < whole || step == 0 && took > time.Second || job.Progress > 0 {
				t.Errorf("step %d: job %d took %s", step, i, took)
			}
			if job.State != gateway.JobReleased {
				continue
			}
			released, err := p.Jobs.Result(t.Context(), who, job.ID)
			if err != nil {
				t.Fatal(err)
			}
			text, err := json.Marshal(released)
			if err != nil {
				t.Fatal(err)
			}
			var shown struct{ MS int }
			if err := json.Unmarshal(text, &shown); err != nil || step > 0 && shown.MS != 1000*step {
				t.Errorf("step %d: job %d is said to have taken %d ms, %v", step, i, shown.MS, err)
			}
		}
		day := time.Now().UTC().Format(time.DateOnly)
		taken, err := p.Jobs.Taken(t.Context(), gateway.Days{From: day, To: day})
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range taken {
			if coarse := u.Wall%time.Second == 0 && u.CPU%time.Second == 0 && u.Wall > 0; u.Grant == grant && coarse != (step > 0) {
				t.Errorf("step %d: %+v", step, u)
			}
		}
	}
}
