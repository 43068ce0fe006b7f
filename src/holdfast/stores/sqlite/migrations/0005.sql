-- What was last asked of a holder, for its beats to tell; null for nothing.

ALTER TABLE holdfast_holder ADD COLUMN command TEXT;
