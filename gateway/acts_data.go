package gateway

import (
	"context"
	"io"
	"regexp"
	"slices"

	"weir/audit"
	"weir/internal/problem"
	"weir/policy"
	"weir/sandbox"
)

// MaxManifest is the most bytes of a manifest.
const MaxManifest = sandbox.MaxManifest

// Upload is a data set on its way in: the manifest, and then the file that it describes. File is called once, after
// the rules have allowed the import, so that nobody can fill the disk who may not.
type Upload struct {
	Manifest []byte
	File     func() (io.Reader, error)
}

// fileName is what an uploaded file may be called: nothing that is a path.
var fileName = regexp.MustCompile(`^[\p{L}\p{N}_][\p{L}\p{N}._-]{0,127}$`)

// ImportDataset takes a provider's data set into the vault. Nothing of it is on a disk in the clear on its way.
func (a *Acts) ImportDataset(ctx context.Context, who policy.Principal, upload Upload) (policy.Version, error) {
	// Nothing of a stranger's is parsed: first, may they import at all? The provider that the manifest names is asked for
	// below.
	own := deed{
		action: policy.DatasetImport, object: policy.Object{Organisation: who.Organisation}, about: audit.Word("dataset"),
	}
	if err := a.Permit.Permit(ctx, who, own.action, own.object); err != nil {
		return policy.Version{}, a.refused(ctx, who, own, err)
	}
	head, err := sandbox.ReadHeading(upload.Manifest)
	if err != nil {
		return policy.Version{}, problem.New("gateway.manifest-unreadable").Because(err)
	}
	if !fileName.MatchString(head.File) {
		return policy.Version{}, problem.New("gateway.manifest-file")
	}
	d := deed{
		action:  policy.DatasetImport,
		object:  policy.Object{Organisation: head.Provider},
		about:   audit.Word("dataset"),
		private: head.Name,
		made:    &made{},
	}
	if err := a.Permit.Permit(ctx, who, d.action, d.object); err != nil && refusal(err) { // they may import, but not for whom it names
		wrong := problem.New("gateway.manifest-provider", "own", who.Organisation).Because(err)
		return policy.Version{}, a.refused(ctx, who, d, wrong)
	}
	return act(ctx, a, who, d, func(ctx context.Context) (policy.Version, error) {
		content, err := upload.File()
		if err != nil {
			return policy.Version{}, err
		}
		taken, err := a.Catalogue.Receive(ctx, upload.Manifest, content)
		d.made.about = audit.Format("dataset/%s", audit.Registered(taken.Name))
		d.made.facts, d.made.private = declared(taken)
		return taken, err
	})
}

// ListDatasets gives the catalogue. That a data set exists is public; which columns a person sees of it is not, see
// Dataset.
func (a *Acts) ListDatasets(ctx context.Context, who policy.Principal) ([]policy.Dataset, error) {
	if err := a.Permit.Permit(ctx, who, policy.DatasetList, policy.Object{}); err != nil {
		return nil, err
	}
	all, err := a.Catalogue.Datasets(ctx)
	if err != nil {
		return nil, err
	}
	see, err := a.sight(ctx, who)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i] = see(all[i])
	}
	return all, nil
}

// Dataset gives one data set with the columns that the person may know of: an operator's people see what is granted
// to the operator, those who describe, decide and supervise see all.
func (a *Acts) Dataset(ctx context.Context, who policy.Principal, name string) (policy.Dataset, error) {
	if err := a.Permit.Permit(ctx, who, policy.DatasetDescribe, policy.Object{}); err != nil {
		return policy.Dataset{}, err
	}
	dataset, err := a.Catalogue.Dataset(ctx, name)
	if err != nil {
		return policy.Dataset{}, err
	}
	see, err := a.sight(ctx, who)
	if err != nil {
		return policy.Dataset{}, err
	}
	return see(dataset), nil
}

// sight tells how much of a data set's description a person sees.
func (a *Acts) sight(ctx context.Context, who policy.Principal) (func(policy.Dataset) policy.Dataset, error) {
	var grants []policy.Grant
	switch {
	case who.Has(policy.Analyst) || who.Has(policy.Operator):
		var err error
		if grants, err = a.Grants.Grants(ctx, who, who.Organisation); err != nil {
			return nil, err
		}
	case a.Permit.Permit(ctx, who, policy.DatasetDescribe, policy.Object{}) == nil:
		return func(d policy.Dataset) policy.Dataset { return d }, nil
	}
	granted := map[string]map[string]bool{}
	for _, grant := range grants {
		if grant.State != policy.GrantActive {
			continue
		}
		for _, d := range grant.Datasets {
			if granted[d.Name] == nil {
				granted[d.Name] = map[string]bool{}
			}
			for _, column := range d.Columns {
				granted[d.Name][column] = true
			}
		}
	}
	return func(d policy.Dataset) policy.Dataset {
		hidden := func(column string) bool { return !granted[d.Name][column] }
		d.Columns = slices.DeleteFunc(slices.Clone(d.Columns), func(c policy.Column) bool { return hidden(c.Name) })
		d.Units = slices.Clone(d.Units)
		for i, unit := range d.Units {
			if hidden(unit.Key) {
				d.Units[i].Key = ""
			}
		}
		return d
	}, nil
}

// granted refuses a grant of what does not exist: a column that came later would be in it without anybody having
// decided so.
func (a *Acts) granted(ctx context.Context, datasets []policy.GrantedDataset) error {
	for _, d := range datasets {
		known, err := a.Catalogue.Dataset(ctx, d.Name)
		if err != nil {
			return err
		}
		for _, column := range d.Columns {
			if _, ok := known.Column(column); !ok {
				return problem.New("gateway.grant-column", "dataset", known.Name)
			}
		}
	}
	return nil
}

// refusal reports whether nothing was done because it was not allowed or made no sense.
func refusal(err error) bool { return err != nil && problem.Of(err).Status() < 500 }
