-- What $filter and $orderby name most, each with the id, by which pages go on.
-- Text is compared by its bytes: the order is the same on every server, and an
-- update of the system's collations cannot break it. Of a name the first 600
-- characters: a row of an index holds 2704 bytes.
CREATE INDEX device_configurations_display_name_idx
    ON device_configurations ((left(display_name, 600)) COLLATE "C", id);
CREATE INDEX device_configurations_odata_type_idx
    ON device_configurations (odata_type, id);
CREATE INDEX device_configurations_created_date_time_idx
    ON device_configurations (created_date_time, id);
CREATE INDEX device_configurations_last_modified_date_time_idx
    ON device_configurations (last_modified_date_time, id);

COMMENT ON INDEX device_configurations_display_name_idx IS
    'Configurations by the first 600 characters of their names: equal, in a range, beginning with a text, in order.';
COMMENT ON INDEX device_configurations_odata_type_idx IS
    'Configurations of a type, in the order of their ids.';
COMMENT ON INDEX device_configurations_created_date_time_idx IS
    'Configurations by the time of their creation.';
COMMENT ON INDEX device_configurations_last_modified_date_time_idx IS
    'Configurations by the time of their last change.';
