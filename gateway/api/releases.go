package api

import (
	"context"
	"net/http"

	"weir/export"
	"weir/gateway"
	"weir/gateway/api/gen"
)

func (s *server) ListReleases(ctx context.Context, req gen.ListReleasesRequestObject) (gen.ListReleasesResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	state := gen.ListReleasesParamsStateWaiting
	if req.Params.State != nil {
		state = *req.Params.State
	}
	list, err := s.Acts.ListReleases(ctx, person, string(state))
	if err != nil {
		return nil, err
	}
	return gen.ListReleases200JSONResponse{Releases: convert(list, func(r gateway.ListedRelease) gen.ReleaseSummary {
		shown := gen.ReleaseSummary{
			ID: r.ID, Job: r.Job, Grant: r.Grant, Operator: r.Operator, Owner: r.Owner, State: gen.ReleaseSummaryState(r.State), Asked: r.Asked, Decided: r.Decided,
		}
		if r.Officer != "" {
			shown.Officer, shown.Reason = &r.Officer, &r.Reason
		}
		return shown
	})}, nil
}

func (s *server) GetRelease(ctx context.Context, req gen.GetReleaseRequestObject) (gen.GetReleaseResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	shown, err := s.Acts.ShowRelease(ctx, person, req.Release)
	if err != nil {
		return nil, err
	}
	return offer{shown}, nil
}

// offer is a result before it leaves. Only an officer of another organisation than the operator's gets it.
type offer struct{ shown export.Offer }

// VisitGetReleaseResponse writes it.
func (o offer) VisitGetReleaseResponse(w http.ResponseWriter) error { return writeJSON(w, o.shown) }

func (s *server) ApproveRelease(ctx context.Context, req gen.ApproveReleaseRequestObject) (gen.ApproveReleaseResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.ApproveRelease204Response{}, s.Acts.ApproveRelease(ctx, person, req.Release, req.Body.Reason)
}

func (s *server) RefuseRelease(ctx context.Context, req gen.RefuseReleaseRequestObject) (gen.RefuseReleaseResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	return gen.RefuseRelease204Response{}, s.Acts.RefuseRelease(ctx, person, req.Release, req.Body.Reason)
}
