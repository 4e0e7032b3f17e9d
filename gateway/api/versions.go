package api

import (
	"context"

	"weir/gateway"
	"weir/gateway/api/gen"
	"weir/internal/problem"
	"weir/policy"
)

func (s *server) ListDatasetVersions(ctx context.Context, req gen.ListDatasetVersionsRequestObject) (gen.ListDatasetVersionsResponseObject, error) {
	ctx, person, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	name := ""
	if req.Params.Dataset != nil {
		name = *req.Params.Dataset
	}
	versions, err := s.Acts.DatasetVersions(ctx, person, name)
	if err != nil {
		return nil, err
	}
	shown := []gen.DatasetVersion{}
	for _, v := range versions {
		if req.Params.State == nil || policy.VersionState(*req.Params.State) == v.State {
			shown = append(shown, datasetVersion(langOf(ctx), v))
		}
	}
	return gen.ListDatasetVersions200JSONResponse{Versions: shown}, nil
}

func (s *server) decideVersion(ctx context.Context, d policy.VersionDecision) error {
	ctx, person, err := asker(ctx)
	if err != nil {
		return err
	}
	return s.Acts.DecideVersion(ctx, person, d)
}

func (s *server) ApproveDatasetVersion(ctx context.Context, req gen.ApproveDatasetVersionRequestObject) (gen.ApproveDatasetVersionResponseObject, error) {
	return gen.ApproveDatasetVersion204Response{}, s.decideVersion(ctx, policy.VersionDecision{
		Dataset: req.Dataset, Version: req.Version, State: policy.VersionApproved, Reason: req.Body.Reason,
	})
}

func (s *server) RefuseDatasetVersion(ctx context.Context, req gen.RefuseDatasetVersionRequestObject) (gen.RefuseDatasetVersionResponseObject, error) {
	return gen.RefuseDatasetVersion204Response{}, s.decideVersion(ctx, policy.VersionDecision{
		Dataset: req.Dataset, Version: req.Version, State: policy.VersionRefused, Reason: req.Body.Reason,
	})
}

func (s *server) WithdrawDatasetVersion(ctx context.Context, req gen.WithdrawDatasetVersionRequestObject) (gen.WithdrawDatasetVersionResponseObject, error) {
	return gen.WithdrawDatasetVersion204Response{}, s.decideVersion(ctx, policy.VersionDecision{
		Dataset: req.Dataset, Version: req.Version, State: policy.VersionWithdrawn, Reason: req.Body.Reason,
	})
}

func (s *server) WithdrawDataset(ctx context.Context, req gen.WithdrawDatasetRequestObject) (gen.WithdrawDatasetResponseObject, error) {
	return gen.WithdrawDataset204Response{}, s.decideVersion(ctx, policy.VersionDecision{
		Dataset: req.Dataset, State: policy.VersionWithdrawn, Reason: req.Body.Reason,
	})
}

func datasetVersion(lang problem.Lang, v gateway.ShownVersion) gen.DatasetVersion {
	shown := gen.DatasetVersion{
		Dataset: dataset(lang, v.Dataset), State: gen.VersionState(v.State), Hash: v.Hash, Taken: v.TakenAt, Reason: optional(v.Reason),
	}
	if v.Exact {
		shown.Rows = &v.Rows
	}
	if !v.DecidedAt.IsZero() {
		shown.Decided = &v.DecidedAt
	}
	if len(v.Weaker) > 0 {
		weaker := convert(v.Weaker, func(w policy.Weakening) gen.Weakening {
			return gen.Weakening{What: gen.WeakeningWhat(w.What), Column: optional(w.Column)}
		})
		shown.Weaker = &weaker
	}
	return shown
}
