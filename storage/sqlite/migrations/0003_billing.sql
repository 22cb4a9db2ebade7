ALTER TABLE attempts ADD COLUMN cost_reported INTEGER NOT NULL DEFAULT 0;
-- What few attempts have: a JSON object of fields of the record, NULL where it would be empty. A column
-- for each would take seven bytes a call.
ALTER TABLE attempts ADD COLUMN billed TEXT;
