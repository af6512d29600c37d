CREATE TABLE public.nas_alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.nas_candidate (
    id character varying(64) NOT NULL,
    architecture_id character varying(64) NOT NULL,
    notation text NOT NULL,
    backbone text NOT NULL,
    n_blocks integer NOT NULL,
    definition json NOT NULL,
    params bigint,
    macs bigint,
    complexity json,
    created_at double precision NOT NULL
);
CREATE TABLE public.nas_dataset (
    id character varying(64) NOT NULL,
    name text NOT NULL,
    spec json NOT NULL,
    counts json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.nas_device (
    id text NOT NULL,
    description json NOT NULL,
    created_at double precision NOT NULL,
    owner text,
    lease_until double precision
);
CREATE TABLE public.nas_environment (
    id character varying(64) NOT NULL,
    facts json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.nas_epoch (
    training_id bigint NOT NULL,
    epoch integer NOT NULL,
    lr double precision,
    losses json NOT NULL,
    seconds double precision,
    images integer
);
CREATE TABLE public.nas_latency (
    id bigint NOT NULL,
    architecture_id character varying(64) NOT NULL,
    notation text NOT NULL,
    protocol_id character varying(64) NOT NULL,
    protocol json NOT NULL,
    device text NOT NULL,
    measured boolean NOT NULL,
    median_ms double precision NOT NULL,
    mean_ms double precision,
    p5_ms double precision,
    p95_ms double precision,
    sd_ms double precision,
    batches_per_s double precision,
    batches integer,
    peak_memory_mb double precision,
    isolated boolean,
    drift double precision,
    record json NOT NULL,
    environment_id character varying(64),
    measured_at double precision NOT NULL
);
CREATE SEQUENCE public.nas_latency_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_latency_id_seq OWNED BY public.nas_latency.id;
CREATE TABLE public.nas_latency_job (
    id bigint NOT NULL,
    device text NOT NULL,
    architecture_id character varying(64) NOT NULL,
    notation text NOT NULL,
    protocol_id character varying(64) NOT NULL,
    protocol text NOT NULL,
    noise text,
    network bytea,
    sha256 character varying(64) NOT NULL,
    status character varying(16) NOT NULL,
    owner text,
    lease_until double precision,
    attempts integer NOT NULL,
    result text,
    reason text,
    collected boolean NOT NULL,
    created_at double precision NOT NULL,
    finished_at double precision,
    CONSTRAINT ck_nas_latency_job_status CHECK (((status)::text = ANY ((ARRAY['waiting'::character varying, 'running'::character varying, 'finished'::character varying, 'failed'::character varying])::text[])))
);
CREATE SEQUENCE public.nas_latency_job_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_latency_job_id_seq OWNED BY public.nas_latency_job.id;
CREATE TABLE public.nas_recipe (
    id character varying(64) NOT NULL,
    definition json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.nas_rule (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    stage_id bigint NOT NULL,
    "position" integer NOT NULL,
    kind text NOT NULL,
    strength text NOT NULL,
    verdict text NOT NULL,
    reason text NOT NULL,
    sentence text NOT NULL,
    finding json NOT NULL,
    created_at double precision NOT NULL
);
CREATE SEQUENCE public.nas_rule_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_rule_id_seq OWNED BY public.nas_rule.id;
CREATE TABLE public.nas_space (
    id character varying(64) NOT NULL,
    name text NOT NULL,
    size text NOT NULL,
    parent_id character varying(64),
    definition json NOT NULL,
    rules json NOT NULL,
    created_at double precision NOT NULL
);
CREATE TABLE public.nas_stage (
    id bigint NOT NULL,
    study_id bigint NOT NULL,
    "position" integer NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    settings json NOT NULL,
    status character varying(16) NOT NULL,
    space_id character varying(64),
    result json,
    planner text,
    planner_until double precision,
    started_at double precision,
    finished_at double precision,
    CONSTRAINT ck_nas_stage_status CHECK (((status)::text = ANY ((ARRAY['waiting'::character varying, 'running'::character varying, 'finished'::character varying, 'failed'::character varying])::text[])))
);
CREATE SEQUENCE public.nas_stage_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_stage_id_seq OWNED BY public.nas_stage.id;
CREATE TABLE public.nas_stage_training (
    stage_id bigint NOT NULL,
    training_id bigint NOT NULL,
    role character varying(32) NOT NULL,
    sampler character varying(64) NOT NULL,
    batch integer NOT NULL,
    "position" integer NOT NULL,
    sampler_attrs json NOT NULL,
    is_open boolean NOT NULL,
    created_at double precision NOT NULL,
    mirror character varying(8)
);
CREATE TABLE public.nas_study (
    id bigint NOT NULL,
    name text NOT NULL,
    definition json NOT NULL,
    seed bigint NOT NULL,
    space_id character varying(64),
    protocol_id character varying(64),
    device text,
    environment_id character varying(64),
    created_at double precision NOT NULL
);
CREATE SEQUENCE public.nas_study_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_study_id_seq OWNED BY public.nas_study.id;
CREATE TABLE public.nas_training (
    id bigint NOT NULL,
    candidate_id character varying(64) NOT NULL,
    recipe_id character varying(64) NOT NULL,
    dataset_id character varying(64) NOT NULL,
    fidelity_label character varying(128) NOT NULL,
    seed bigint NOT NULL,
    fidelity json NOT NULL,
    epochs integer,
    split character varying(16) NOT NULL,
    resume_from_id bigint,
    init_from_id bigint,
    status character varying(16) NOT NULL,
    attempts integer NOT NULL,
    owner text,
    claim_token character varying(64),
    lease_seconds double precision,
    lease_until double precision,
    heartbeat_at double precision,
    map double precision,
    rank1 double precision,
    minp double precision,
    metrics json,
    seconds double precision,
    images_per_s double precision,
    checkpoint_uri text,
    checkpoint_sha256 character varying(64),
    environment_id character varying(64),
    failure_kind character varying(32),
    failure_reason text,
    failure_traceback text,
    created_at double precision NOT NULL,
    started_at double precision,
    finished_at double precision,
    failures integer DEFAULT 0 NOT NULL,
    silences integer DEFAULT 0 NOT NULL,
    CONSTRAINT ck_nas_training_status CHECK (((status)::text = ANY ((ARRAY['waiting'::character varying, 'running'::character varying, 'finished'::character varying, 'failed'::character varying])::text[])))
);
CREATE SEQUENCE public.nas_training_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.nas_training_id_seq OWNED BY public.nas_training.id;
CREATE TABLE public.nas_worker (
    id character varying(255) NOT NULL,
    study_id bigint NOT NULL,
    host text NOT NULL,
    pid integer,
    device text,
    details json NOT NULL,
    started_at double precision NOT NULL,
    heartbeat_at double precision NOT NULL,
    stopped_at double precision
);
ALTER TABLE ONLY public.nas_latency ALTER COLUMN id SET DEFAULT nextval('public.nas_latency_id_seq'::regclass);
ALTER TABLE ONLY public.nas_latency_job ALTER COLUMN id SET DEFAULT nextval('public.nas_latency_job_id_seq'::regclass);
ALTER TABLE ONLY public.nas_rule ALTER COLUMN id SET DEFAULT nextval('public.nas_rule_id_seq'::regclass);
ALTER TABLE ONLY public.nas_stage ALTER COLUMN id SET DEFAULT nextval('public.nas_stage_id_seq'::regclass);
ALTER TABLE ONLY public.nas_study ALTER COLUMN id SET DEFAULT nextval('public.nas_study_id_seq'::regclass);
ALTER TABLE ONLY public.nas_training ALTER COLUMN id SET DEFAULT nextval('public.nas_training_id_seq'::regclass);
INSERT INTO public.nas_alembic_version VALUES ('0002');
INSERT INTO public.nas_candidate VALUES ('c000000000000000', 'a000000000000000', 'resnet50+cnl@0', 'resnet50', 1, '{"backbone": "resnet50", "placements": [[0, "cnl", {}]]}', NULL, NULL, NULL, 1795915776.564053);
INSERT INTO public.nas_candidate VALUES ('c000000000000002', 'a000000000000002', 'resnet50+cnl@2', 'resnet50', 1, '{"backbone": "resnet50", "placements": [[2, "cnl", {}]]}', NULL, NULL, NULL, 1795915776.564394);
INSERT INTO public.nas_candidate VALUES ('c000000000000003', 'a000000000000003', 'resnet50+cnl@3', 'resnet50', 1, '{"backbone": "resnet50", "placements": [[3, "cnl", {}]]}', NULL, NULL, NULL, 1795915776.56442);
INSERT INTO public.nas_candidate VALUES ('c000000000000004', 'a000000000000004', 'resnet50+cnl@4', 'resnet50', 1, '{"backbone": "resnet50", "placements": [[4, "cnl", {}]]}', NULL, NULL, NULL, 1795915776.564443);
INSERT INTO public.nas_candidate VALUES ('c000000000000001', 'a000000000000001', 'resnet50+cnl@1', 'resnet50', 1, '{"backbone": "resnet50", "placements": [[1, "cnl", {}]]}', 10, 20, '{"head": 3}', 1795915776.564357);
INSERT INTO public.nas_dataset VALUES ('data', 'generated', '{"generated": {"seed": 0}, "view": "select"}', '{"train": 10}', 1795915776.571323);
INSERT INTO public.nas_dataset VALUES ('folder', 'market1501', '{"market1501": "/data/market", "view": "final"}', '{"train": 10}', 1795915776.584202);
INSERT INTO public.nas_device VALUES ('gpu', '{}', 1795915776.987641, NULL, NULL);
INSERT INTO public.nas_environment VALUES ('473b27f365f573fbbd25658d3a71c24e', '{"torch": "2.15"}', 1795915776.687607);
INSERT INTO public.nas_epoch VALUES (1, 1, 0.1, '{"id": 1.0}', NULL, NULL);
INSERT INTO public.nas_epoch VALUES (1, 2, 0.05, '{"id": 0.5}', NULL, NULL);
INSERT INTO public.nas_epoch VALUES (1, 3, 0.03333333333333333, '{"id": 0.3333333333333333}', NULL, NULL);
INSERT INTO public.nas_latency VALUES (1, 'a000000000000001', 'x', 'p', '{"batch": 16}', 'gpu', true, 9.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"median_ms": 9.5, "protocol": {"batch": 16}}', '473b27f365f573fbbd25658d3a71c24e', 1795915777.015434);
INSERT INTO public.nas_latency VALUES (2, 'never-trained', 'x', 'p', '{}', 'gpu', true, 8.5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{"median_ms": 8.5}', '473b27f365f573fbbd25658d3a71c24e', 1795915777.045431);
INSERT INTO public.nas_recipe VALUES ('recipe', '{"name": "strong_baseline", "epochs": 60}', 1795915776.64426);
INSERT INTO public.nas_rule VALUES (1, 1, 1, 0, 'sites', 'hard', 'adopted', '', '', '{"rule": {"kind": "sites"}, "verdict": "adopted", "evidence": {"training_ids": [1, 2], "p": 0.01}}', 1795915776.966895);
INSERT INTO public.nas_space VALUES ('parent', 'all', '45517159607903340355793714778287898624', NULL, '{"sites": "1-17"}', '[]', 1795915776.539039);
INSERT INTO public.nas_space VALUES ('child', 'fewer', '12', 'parent', '{"sites": "4"}', '[{"kind": "sites"}]', 1795915776.548566);
INSERT INTO public.nas_stage VALUES (2, 1, 1, '1-search', 'search', '{}', 'waiting', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.nas_stage VALUES (1, 1, 0, '0-sweep', 'sweep', '{}', 'finished', 'parent', '{"space_id": "child", "training_ids": [1, 2, 3, 4]}', NULL, NULL, 1795915776.943497, 1795915776.943497);
INSERT INTO public.nas_stage_training VALUES (1, 1, 'candidate', 'random', 0, 0, '{}', false, 1795915776.663343, NULL);
INSERT INTO public.nas_stage_training VALUES (1, 2, 'candidate', 'random', 0, 1, '{}', false, 1795915776.66379, NULL);
INSERT INTO public.nas_stage_training VALUES (1, 3, 'candidate', 'random', 0, 2, '{}', false, 1795915776.663859, NULL);
INSERT INTO public.nas_stage_training VALUES (1, 4, 'candidate', 'random', 0, 3, '{}', false, 1795915776.663913, NULL);
INSERT INTO public.nas_stage_training VALUES (2, 7, 'candidate', 'random', 0, 2, '{}', true, 1795915776.873417, NULL);
INSERT INTO public.nas_stage_training VALUES (2, 5, 'candidate', 'random', 0, 0, '{}', false, 1795915776.873171, NULL);
INSERT INTO public.nas_stage_training VALUES (2, 6, 'candidate', 'random', 0, 1, '{}', false, 1795915776.873354, NULL);
INSERT INTO public.nas_study VALUES (1, 'early', '{"name": "early", "seed": 1, "note": "é"}', 1, 'parent', 'p', 'gpu', NULL, 1795915776.587451);
INSERT INTO public.nas_training VALUES (1, 'c000000000000000', 'recipe', 'data', 'e10', 0, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, NULL, 'finished', 1, 'w', NULL, 60, NULL, 1795915776.710398, 0.7312345678901234, 0.7, 0.2, '{"cmc": [0.7, 0.8]}', 60, NULL, '/studies/store/one.pt', '3519677e12765660eb32a57da107183d2877ab8dee3809a58944a9a464456484', '473b27f365f573fbbd25658d3a71c24e', NULL, NULL, NULL, 1795915776.651451, 1795915776.710399, 1795915776.74544, 0, 0);
INSERT INTO public.nas_training VALUES (2, 'c000000000000001', 'recipe', 'data', 'e10', 0, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, NULL, 'finished', 1, 'w', NULL, 60, NULL, 1795915776.775808, 0.502, 0.7, 0.2, '{"cmc": [0.7, 0.8]}', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795915776.65216, 1795915776.775808, 1795915776.792025, 0, 0);
INSERT INTO public.nas_training VALUES (3, 'c000000000000002', 'recipe', 'data', 'e10', 0, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, NULL, 'finished', 1, 'w', NULL, 60, NULL, 1795915776.797189, 0.503, 0.7, 0.2, '{"cmc": [0.7, 0.8]}', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795915776.65228, 1795915776.79719, 1795915776.808828, 0, 0);
INSERT INTO public.nas_training VALUES (4, 'c000000000000003', 'recipe', 'data', 'e10', 0, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, NULL, 'finished', 1, 'w', NULL, 60, NULL, 1795915776.81728, 0.504, 0.7, 0.2, '{"cmc": [0.7, 0.8]}', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795915776.652371, 1795915776.817281, 1795915776.829991, 0, 0);
INSERT INTO public.nas_training VALUES (7, 'c000000000000002', 'recipe', 'data', 'e10', 1, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, NULL, 'waiting', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795915776.868099, NULL, NULL, 0, 0);
INSERT INTO public.nas_training VALUES (5, 'c000000000000000', 'recipe', 'folder', 'e10-to40', 0, '{"epochs": 10, "view": "final", "stop_epoch": 40}', 10, 'test', 1, NULL, 'finished', 1, 'w', NULL, 60, NULL, 1795915776.886273, 0.6, 0.7, 0.2, '{"cmc": [0.7, 0.8]}', 60, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1795915776.867476, 1795915776.886274, 1795915776.904192, 0, 0);
INSERT INTO public.nas_training VALUES (6, 'c000000000000001', 'recipe', 'data', 'e10-inherit', 1, '{"epochs": 10, "view": "select"}', 10, 'val', NULL, 1, 'failed', 1, 'w', NULL, 60, NULL, 1795915776.917181, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'diverged', 'loss is NaN', 'Traceback ...', 1795915776.867896, 1795915776.917182, 1795915776.929905, 1, 0);
SELECT pg_catalog.setval('public.nas_latency_id_seq', 2, true);
SELECT pg_catalog.setval('public.nas_latency_job_id_seq', 1, false);
SELECT pg_catalog.setval('public.nas_rule_id_seq', 1, true);
SELECT pg_catalog.setval('public.nas_stage_id_seq', 2, true);
SELECT pg_catalog.setval('public.nas_study_id_seq', 1, true);
SELECT pg_catalog.setval('public.nas_training_id_seq', 7, true);
ALTER TABLE ONLY public.nas_alembic_version
    ADD CONSTRAINT nas_alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.nas_candidate
    ADD CONSTRAINT pk_nas_candidate PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_dataset
    ADD CONSTRAINT pk_nas_dataset PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_device
    ADD CONSTRAINT pk_nas_device PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_environment
    ADD CONSTRAINT pk_nas_environment PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_epoch
    ADD CONSTRAINT pk_nas_epoch PRIMARY KEY (training_id, epoch);
ALTER TABLE ONLY public.nas_latency
    ADD CONSTRAINT pk_nas_latency PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_latency_job
    ADD CONSTRAINT pk_nas_latency_job PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_recipe
    ADD CONSTRAINT pk_nas_recipe PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_rule
    ADD CONSTRAINT pk_nas_rule PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_space
    ADD CONSTRAINT pk_nas_space PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_stage
    ADD CONSTRAINT pk_nas_stage PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_stage_training
    ADD CONSTRAINT pk_nas_stage_training PRIMARY KEY (stage_id, training_id);
ALTER TABLE ONLY public.nas_study
    ADD CONSTRAINT pk_nas_study PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT pk_nas_training PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_worker
    ADD CONSTRAINT pk_nas_worker PRIMARY KEY (id);
ALTER TABLE ONLY public.nas_latency_job
    ADD CONSTRAINT uq_nas_latency_job_device_architecture_id_protocol_id UNIQUE (device, architecture_id, protocol_id);
ALTER TABLE ONLY public.nas_rule
    ADD CONSTRAINT uq_nas_rule_stage_id_position UNIQUE (stage_id, "position");
ALTER TABLE ONLY public.nas_stage
    ADD CONSTRAINT uq_nas_stage_study_id_name UNIQUE (study_id, name);
ALTER TABLE ONLY public.nas_stage
    ADD CONSTRAINT uq_nas_stage_study_id_position UNIQUE (study_id, "position");
ALTER TABLE ONLY public.nas_study
    ADD CONSTRAINT uq_nas_study_name UNIQUE (name);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT uq_nas_training_natural_key UNIQUE (candidate_id, recipe_id, dataset_id, fidelity_label, seed);
CREATE INDEX ix_nas_candidate_architecture_id ON public.nas_candidate USING btree (architecture_id);
CREATE INDEX ix_nas_latency_architecture_id_protocol_id_device ON public.nas_latency USING btree (architecture_id, protocol_id, device);
CREATE INDEX ix_nas_rule_study_id ON public.nas_rule USING btree (study_id);
CREATE INDEX ix_nas_stage_training_open ON public.nas_stage_training USING btree (stage_id, batch, "position") WHERE is_open;
CREATE INDEX ix_nas_stage_training_training_id ON public.nas_stage_training USING btree (training_id);
CREATE INDEX ix_nas_training_dataset_id ON public.nas_training USING btree (dataset_id);
CREATE INDEX ix_nas_training_init_from_id ON public.nas_training USING btree (init_from_id);
CREATE INDEX ix_nas_training_resume_from_id ON public.nas_training USING btree (resume_from_id);
CREATE INDEX ix_nas_training_running ON public.nas_training USING btree (lease_until) WHERE ((status)::text = 'running'::text);
CREATE INDEX ix_nas_worker_study_id ON public.nas_worker USING btree (study_id);
ALTER TABLE ONLY public.nas_epoch
    ADD CONSTRAINT fk_nas_epoch_training_id FOREIGN KEY (training_id) REFERENCES public.nas_training(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.nas_latency
    ADD CONSTRAINT fk_nas_latency_device FOREIGN KEY (device) REFERENCES public.nas_device(id);
ALTER TABLE ONLY public.nas_latency
    ADD CONSTRAINT fk_nas_latency_environment_id FOREIGN KEY (environment_id) REFERENCES public.nas_environment(id);
ALTER TABLE ONLY public.nas_rule
    ADD CONSTRAINT fk_nas_rule_stage_id FOREIGN KEY (stage_id) REFERENCES public.nas_stage(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.nas_rule
    ADD CONSTRAINT fk_nas_rule_study_id FOREIGN KEY (study_id) REFERENCES public.nas_study(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.nas_space
    ADD CONSTRAINT fk_nas_space_parent_id FOREIGN KEY (parent_id) REFERENCES public.nas_space(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.nas_stage
    ADD CONSTRAINT fk_nas_stage_space_id FOREIGN KEY (space_id) REFERENCES public.nas_space(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.nas_stage
    ADD CONSTRAINT fk_nas_stage_study_id FOREIGN KEY (study_id) REFERENCES public.nas_study(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.nas_stage_training
    ADD CONSTRAINT fk_nas_stage_training_stage_id FOREIGN KEY (stage_id) REFERENCES public.nas_stage(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.nas_stage_training
    ADD CONSTRAINT fk_nas_stage_training_training_id FOREIGN KEY (training_id) REFERENCES public.nas_training(id);
ALTER TABLE ONLY public.nas_study
    ADD CONSTRAINT fk_nas_study_environment_id FOREIGN KEY (environment_id) REFERENCES public.nas_environment(id);
ALTER TABLE ONLY public.nas_study
    ADD CONSTRAINT fk_nas_study_space_id FOREIGN KEY (space_id) REFERENCES public.nas_space(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_candidate_id FOREIGN KEY (candidate_id) REFERENCES public.nas_candidate(id);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_dataset_id FOREIGN KEY (dataset_id) REFERENCES public.nas_dataset(id);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_environment_id FOREIGN KEY (environment_id) REFERENCES public.nas_environment(id);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_init_from_id FOREIGN KEY (init_from_id) REFERENCES public.nas_training(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_recipe_id FOREIGN KEY (recipe_id) REFERENCES public.nas_recipe(id);
ALTER TABLE ONLY public.nas_training
    ADD CONSTRAINT fk_nas_training_resume_from_id FOREIGN KEY (resume_from_id) REFERENCES public.nas_training(id) ON DELETE SET NULL;
ALTER TABLE ONLY public.nas_worker
    ADD CONSTRAINT fk_nas_worker_study_id FOREIGN KEY (study_id) REFERENCES public.nas_study(id) ON DELETE CASCADE;
