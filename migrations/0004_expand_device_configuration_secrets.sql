CREATE TABLE device_configuration_secrets (
    reference               text        NOT NULL,
    device_configuration_id uuid        NOT NULL,
    ciphertext              bytea       NOT NULL,
    created_date_time       timestamptz NOT NULL DEFAULT now(),

    CONSTRAINT device_configuration_secrets_pkey
        PRIMARY KEY (reference),
    CONSTRAINT device_configuration_secrets_device_configuration_id_fkey
        FOREIGN KEY (device_configuration_id) REFERENCES device_configurations (id) ON DELETE CASCADE,
    CONSTRAINT device_configuration_secrets_ciphertext_check
        CHECK (octet_length(ciphertext) >= 28)
);

-- What a configuration's end, and a change of its settings, look for.
CREATE INDEX device_configuration_secrets_device_configuration_id_idx
    ON device_configuration_secrets (device_configuration_id);

COMMENT ON TABLE device_configuration_secrets IS
    'Values of OMA settings that a client marked encrypted. In the setting itself stands ****.';
COMMENT ON COLUMN device_configuration_secrets.reference IS
    'The secretReferenceValueId of the setting, in Graph''s form: a GUID, the configuration''s id, a GUID.';
COMMENT ON COLUMN device_configuration_secrets.device_configuration_id IS
    'Configuration that the setting belongs to; the secret goes with it.';
COMMENT ON COLUMN device_configuration_secrets.ciphertext IS
    'Nonce (12 bytes), AES-256-GCM ciphertext and tag (16 bytes) under secrets.key, bound to the reference.';
COMMENT ON COLUMN device_configuration_secrets.created_date_time IS
    'When the secret was stored.';
