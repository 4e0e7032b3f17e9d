package gateway

import (
	"context"
	"fmt"
	"time"

	"weir/audit"
	"weir/export"
	"weir/policy"
)

// ListedRelease says that something waits for an officer or was decided by one, and whose it is, but not what.
type ListedRelease struct {
	ID       string
	Job      string
	Grant    string
	Operator string
	Owner    string
	State    string
	Asked    time.Time
	Decided  *time.Time // nil while it waits
	Officer  string
	Reason   string
}

// releaseLimit is how many decided releases are listed at most.
const releaseLimit = 1000

// ListReleases lists what waits for an officer, the oldest first, or what officers decided, the newest first. Who may see
// the list is not who may see the tables, so they are not in it.
func (a *Acts) ListReleases(ctx context.Context, who policy.Principal, state string) ([]ListedRelease, error) {
	if err := a.Permit.Permit(ctx, who, policy.ReleaseList, policy.Object{}); err != nil {
		return nil, err
	}
	var offers []export.Offer
	var err error
	switch state {
	case "waiting":
		offers, err = a.Releases.Waiting(ctx)
	case "decided":
		offers, err = a.Releases.Decided(ctx, export.DecidedStates, releaseLimit)
	default:
		offers, err = a.Releases.Decided(ctx, []string{state}, releaseLimit)
	}
	if err != nil {
		return nil, err
	}
	list := make([]ListedRelease, len(offers))
	for i, o := range offers {
		list[i] = ListedRelease{
			ID: o.ID, Job: o.Job, Grant: o.Grant, Operator: o.Operator, Owner: o.Owner, State: o.State, Asked: o.Asked,
			Decided: o.Decided, Officer: o.Officer, Reason: o.Reason,
		}
	}
	return list, nil
}

// JobWords is what was said about a job: its own text, and the officer's word on its result.
type JobWords struct {
	SQL      string           // empty where it was erased, or the job has not begun
	Decision *export.Decision // nil where no officer decided
}

// JobWords finds what was said about a job, for somebody who may read the job: asking for that comes first.
func (a *Acts) JobWords(ctx context.Context, who policy.Principal, job Job) (JobWords, error) {
	if err := a.Permit.Permit(ctx, who, policy.JobRead, policy.Object{Operator: job.Operator, Owner: job.Owner}); err != nil {
		return JobWords{}, err
	}
	var words JobWords
	var err error
	if words.Decision, err = a.Releases.Decision(ctx, job.ID); err != nil {
		return JobWords{}, err
	}
	entries, err := a.Log.Search(ctx, audit.Filter{Job: job.ID})
	if err != nil {
		return JobWords{}, err
	}
	for _, entry := range entries {
		if (entry.Kind == "job.intent" || entry.Kind == "job.refused") && len(entry.Payload) > 0 {
			words.SQL = string(entry.Payload)
		}
	}
	return words, nil
}

// ShowRelease shows an officer what is to leave: true values that nobody else has seen.
func (a *Acts) ShowRelease(ctx context.Context, who policy.Principal, id string) (export.Offer, error) {
	offer, d, err := a.offer(ctx, who, policy.ReleaseShow, id)
	if err != nil {
		return export.Offer{}, err
	}
	return act(ctx, a, who, d, func(context.Context) (export.Offer, error) { return offer, nil })
}

// ApproveRelease lets it out.
func (a *Acts) ApproveRelease(ctx context.Context, who policy.Principal, id, reason string) error {
	return a.decide(ctx, who, policy.ReleaseApprove, id, reason, a.Releases.Approve)
}

// RefuseRelease keeps it in.
func (a *Acts) RefuseRelease(ctx context.Context, who policy.Principal, id, reason string) error {
	return a.decide(ctx, who, policy.ReleaseRefuse, id, reason, a.Releases.Refuse)
}

func (a *Acts) decide(ctx context.Context, who policy.Principal, action policy.Action, id, reason string,
	decide func(ctx context.Context, id string, officer policy.Principal, reason string) error,
) error {
	offer, d, err := a.offer(ctx, who, action, id)
	if err != nil {
		return err
	}
	d.private = reason
	err = perform(ctx, a, who, d, func(ctx context.Context) error { return decide(context.WithoutCancel(ctx), id, who, reason) })
	if err != nil {
		return err
	}
	// The decision stands. The job only learns of it now; should that fail, it does at the next look.
	_, err = a.Jobs.Settle(context.WithoutCancel(ctx), offer.Job)
	return err
}

// offer reads an offer and prepares what is to be done about it. It shows nothing yet.
func (a *Acts) offer(ctx context.Context, who policy.Principal, action policy.Action, id string) (export.Offer, deed, error) {
	d := deed{action: action, about: audit.Word("release")}
	offer, err := a.Releases.Show(ctx, id)
	if err != nil {
		d.private = fmt.Sprintf("release %q", id)
		return export.Offer{}, d, a.refused(ctx, who, d, a.absent(ctx, who, action, err))
	}
	d.object = policy.Object{Operator: offer.Operator, Owner: offer.Owner}
	d.about = audit.Format("release/%s", audit.Registered(offer.ID))
	d.grant, d.job = grantFact(ctx, a.Grants, offer.Grant), audit.Registered(offer.Job)
	if d.object.Parties, err = a.parties(ctx, offer.Grant); err != nil {
		return export.Offer{}, d, err
	}
	if action != policy.ReleaseRefuse { // to refuse is what the end of the grant would do
		if err := a.Grants.Usable(ctx, offer.Grant); err != nil {
			if forbidden := a.Permit.Permit(ctx, who, action, d.object); forbidden != nil {
				err = forbidden
			}
			return export.Offer{}, d, a.refused(ctx, who, d, err)
		}
	}
	return offer, d, nil
}

// absent answers for what does not exist. The rules are asked all the same, as if it belonged to somebody else, so
// that only who may do this to something hears that there is nothing here.
func (a *Acts) absent(ctx context.Context, who policy.Principal, action policy.Action, missing error) error {
	if err := a.Permit.Permit(ctx, who, action, policy.Object{Operator: "?", Owner: "?", Parties: []policy.Party{{Subject: "?", Organisation: "?"}}}); err != nil {
		return err
	}
	return missing
}

// CancelJob stops a queued or running job.
func (a *Acts) CancelJob(ctx context.Context, who policy.Principal, id string) (Job, error) {
	d := deed{action: policy.JobCancel, about: audit.Word("job")}
	job, err := a.Jobs.Find(ctx, id)
	if err != nil {
		d.private = fmt.Sprintf("job %q", id)
		return Job{}, unknownJob(a.refused(ctx, who, d, a.absent(ctx, who, policy.JobCancel, err)))
	}
	d.object = policy.Object{Operator: job.Operator, Owner: job.Owner}
	d.job, d.grant = audit.Registered(job.ID), grantFact(ctx, a.Grants, job.Grant)
	job, err = act(ctx, a, who, d, func(ctx context.Context) (Job, error) {
		return a.Jobs.Cancel(context.WithoutCancel(ctx), id)
	})
	return job, unknownJob(err)
}
