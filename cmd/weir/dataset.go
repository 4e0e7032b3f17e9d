package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"weir/gateway/api/client"
	"weir/internal/problem"
	"weir/sandbox"
)

type datasetCommand struct {
	Import   datasetImportCommand   `cmd:"" help:"Take a data set into the vault."`
	List     datasetListCommand     `cmd:"" help:"List the data sets that you may know of."`
	Describe datasetDescribeCommand `cmd:"" help:"Show the columns of a data set."`
	Versions datasetVersionsCommand `cmd:"" help:"List versions of data sets, with what became of their review."`
	Approve  datasetApprove         `cmd:"" help:"Let what a version is declared to be hold, so that grants see it."`
	Refuse   datasetRefuse          `cmd:"" help:"Refuse what a version is declared to be."`
	Withdraw datasetWithdraw        `cmd:"" help:"Take back a version, or a data set whole; no grant sees it any more."`
}

type datasetImportCommand struct {
	Manifest string `arg:"" name:"file.yaml" help:"Description of the data set; it names the file with the data."`
}

// Run sends the description and the file that it names, which stays on the disk here while it is read.
func (d *datasetImportCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	manifest, data, err := openManifest(d.Manifest)
	if err != nil {
		return err
	}
	defer data.Close()
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	body, contentType := upload(manifest, filepath.Base(d.Manifest), data)
	defer body.Close()
	taken, err := answer[client.DatasetVersion](person.ImportDatasetWithBody(ctx, contentType, body))
	if err != nil {
		return err
	}
	rows := taken.Dataset.RowsAbout
	if taken.Rows != nil {
		rows = *taken.Rows
	}
	t.say("%s: version %d, %d rows, %d columns.", taken.Dataset.Name, taken.Dataset.Version, rows, len(taken.Dataset.Columns))
	if taken.State == client.VersionStateWaiting {
		t.say("It waits for the authority, and no grant sees it: %s", t.weakenings(taken.Weaker))
	}
	return nil
}

// dataFiles are the endings of files that hold data, and of no description.
var dataFiles = map[string]bool{
	".csv": true, ".tsv": true, ".txt": true, ".ndjson": true, ".jsonl": true, ".parquet": true, ".xlsx": true, ".xls": true, ".gz": true, ".zip": true,
}

// openManifest reads a description and opens the file with the data, which is named relative to it.
func openManifest(path string) ([]byte, *os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, problem.New("cli.no-file").Because(err)
	}
	if info.Size() > sandbox.MaxManifest || dataFiles[strings.ToLower(filepath.Ext(path))] {
		return nil, nil, problem.New("cli.bad-manifest", "data", filepath.Base(path))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, problem.New("cli.no-file").Because(err)
	}
	var named struct {
		File string `yaml:"file"`
	}
	if err := yaml.Unmarshal(text, &named); err != nil || named.File == "" {
		return nil, nil, problem.New("cli.bad-manifest").Because(err)
	}
	where := named.File
	if !filepath.IsAbs(where) {
		where = filepath.Join(filepath.Dir(path), where)
	}
	if text, err = withoutFolder(text, named.File); err != nil {
		return nil, nil, problem.New("cli.bad-manifest").Because(err)
	}
	data, err := os.Open(where)
	if err != nil {
		return nil, nil, problem.New("cli.no-file").Because(err)
	}
	return text, data, nil
}

// withoutFolder names the data in the description as it is sent: where it lies on this machine is nobody's business.
func withoutFolder(manifest []byte, file string) ([]byte, error) {
	if filepath.Base(file) == file {
		return manifest, nil
	}
	document, err := parser.ParseBytes(manifest, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	field, err := yaml.PathString("$.file")
	if err != nil {
		return nil, err
	}
	name, err := yaml.ValueToNode(filepath.Base(file))
	if err != nil {
		return nil, err
	}
	if err := field.ReplaceWithNode(document, name); err != nil {
		return nil, err
	}
	return []byte(document.String()), nil
}

// upload streams the two parts, so that a file of any size needs no memory here.
func upload(manifest []byte, name string, data *os.File) (io.ReadCloser, string) {
	read, write := io.Pipe()
	parts := multipart.NewWriter(write)
	go func() {
		part, err := parts.CreateFormFile("manifest", name)
		if err == nil {
			_, err = part.Write(manifest)
		}
		if err == nil {
			part, err = parts.CreateFormFile("file", filepath.Base(data.Name()))
		}
		if err == nil {
			_, err = io.Copy(part, data)
		}
		write.CloseWithError(errors.Join(err, parts.Close()))
	}()
	return read, parts.FormDataContentType()
}

type datasetListCommand struct {
	printing `embed:""`
}

// Run lists the data sets.
func (d *datasetListCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	list, err := answer[client.DatasetList](person.ListDatasets(ctx))
	if err != nil {
		return err
	}
	shown := table{
		head:    []string{t.text("Name"), t.text("Title"), t.text("Provider"), t.text("Units"), t.text("Version"), t.text("Rows, about")},
		numeric: []bool{4: true, 5: true},
	}
	for _, s := range list.Datasets {
		shown.add(s.Name, s.Title, s.Provider, unitNames(t, s), strconv.Itoa(s.Version), strconv.FormatInt(s.RowsAbout, 10))
	}
	return d.list(t, list, shown)
}

func unitNames(t *terminal, s client.Dataset) string {
	if s.Open {
		return t.text("(open)")
	}
	names := make([]string, len(s.Units))
	for i, u := range s.Units {
		names[i] = u.Domain
		if u.Key != nil {
			names[i] += "(" + *u.Key + ")"
		}
	}
	return strings.Join(names, ", ")
}

type datasetDescribeCommand struct {
	Name string `arg:"" help:"Name of the data set."`

	printing `embed:""`
}

// Run shows the columns of one data set and what may be done with each.
func (d *datasetDescribeCommand) Run(ctx context.Context, t *terminal, c *commands) error {
	person, err := c.platform(ctx, t)
	if err != nil {
		return err
	}
	s, err := answer[client.Dataset](person.GetDataset(ctx, d.Name))
	if err != nil {
		return err
	}
	if d.Format == "table" && d.Output == "" {
		t.say("%s: %s (%s), version %d, about %d rows, units: %s", s.Name, s.Title, s.Provider, s.Version, s.RowsAbout, unitNames(t, s))
		if !s.Open {
			fmt.Fprintln(t.out, membershipOf(t, s))
		}
	}
	shown := table{head: []string{
		t.text("Column"), t.text("Type"), t.text("Class"), t.text("Public"), t.text("Measure"), t.text("Cap"), t.text("Values"), t.text("Title"),
	}}
	for _, column := range s.Columns {
		title := ""
		if column.Title != nil {
			title = *column.Title
		}
		shown.add(column.Name, column.Type, word(t, column.Class), publicity(t, column), bounds(column), number(column.Cap), values(column), title)
	}
	return d.list(t, s, shown)
}

// membershipOf is a sentence about who is in the data set and how its units are protected.
func membershipOf(t *terminal, s client.Dataset) string {
	said := t.text("Membership is secret.")
	if s.Membership == client.DatasetMembershipPublic {
		said = t.text("Membership is public.")
	}
	if s.Frame != nil {
		said += " " + t.text("Frame: %s.", *s.Frame)
	}
	if s.Size != nil {
		said += " " + t.text("About %d units.", *s.Size)
	}
	for _, u := range s.Units {
		if u.Rows != nil {
			said += " " + t.text("A unit of %s counts for at most %d rows.", u.Domain, *u.Rows)
		}
		switch u.Protect {
		case client.UnitProtectSize:
			said += " " + t.text("Of %s, magnitudes alone are protected.", u.Domain)
		case client.UnitProtectNo:
			said += " " + t.text("%s is not protected.", u.Domain)
		}
	}
	return said
}

func publicity(t *terminal, c client.Column) string {
	if c.Public == nil || !*c.Public {
		return ""
	}
	return t.text("yes")
}

func number(n *float64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatFloat(*n, 'f', -1, 64)
}

// values are the first values that are listed of a column, and how many there are.
func values(c client.Column) string {
	const shown = 3
	if c.Values == nil {
		return ""
	}
	if len(*c.Values) <= shown {
		return strings.Join(*c.Values, ", ")
	}
	return fmt.Sprintf("%s, … (%d)", strings.Join((*c.Values)[:shown], ", "), len(*c.Values))
}

func bounds(c client.Column) string {
	if c.Measure == nil {
		return ""
	}
	end := func(v *float64) string {
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return fmt.Sprintf("%s … %s", end(c.Measure.Min), end(c.Measure.Max))
}
