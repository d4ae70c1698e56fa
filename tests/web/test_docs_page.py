"""`/docs` in a real browser: it renders, asks nobody but the service, and runs no inline script."""

import os
import shutil
from configparser import ConfigParser
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

import service as service_package
from service.web.page import FILES
from tests.chromium import FLAGS
from tests.web.conformance import DOCUMENT

CODE = {".py", ".pyc"}
SHOWN = sum(len(item.keys() - {"head"}) for item in DOCUMENT["paths"].values())


@pytest.fixture
async def page():
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must provide chromium")
        pytest.skip("there is no chromium")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=FLAGS)
        yield await browser.new_page(viewport={"width": 1200, "height": 1400})
        await browser.close()


@pytest.mark.timeout(60)
async def test_the_page_shows_every_operation_and_asks_nobody_else(service, page, bucket):
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    await page.goto(f"{service.url}/docs")
    await page.wait_for_selector(".opblock")
    assert await page.title() == "Mediagate API"
    assert await page.locator(".opblock:visible").count() == SHOWN
    assert not complaints
    assert all(url.startswith((service.url, "data:")) for url in asked), asked
    if shot := os.environ.get("MEDIAGATE_TEST_SCREENSHOT"):
        await page.screenshot(path=shot)


@pytest.mark.timeout(60)
async def test_an_operation_is_tried_out_with_a_key(service, page, bucket):
    key = await service.make_key("list")
    await page.goto(f"{service.url}/docs")
    await page.click("button.authorize")
    await page.fill(".modal-ux input", key)
    await page.click(".modal-ux button.authorize")
    await page.click(".modal-ux button.btn-done")
    await page.click("#operations-buckets-get_buckets .opblock-summary-control")
    await page.click("#operations-buckets-get_buckets .try-out__btn")
    await page.click("#operations-buckets-get_buckets .execute")
    answer = page.locator("#operations-buckets-get_buckets .live-responses-table .response").first
    await answer.wait_for()
    assert "films" in await answer.inner_text()


async def test_an_unknown_file_is_a_problem_and_no_path_leads_out(service):
    for name in ("nothing.js", "README.md", "..%2Findex.html", "%2e%2e%2fpage.js"):
        async with service.fetch("GET", f"/docs/{name}", key=None) as response:
            assert response.status == 404
            assert response.content_type == "application/problem+json"


async def test_its_files_are_kept_by_their_tags_and_closed_off(service):
    for path in ("/docs", *(f"/docs/{name}" for name in FILES)):
        async with service.fetch("GET", path, key=None) as response:
            assert response.status == 200
            policy = response.headers["Content-Security-Policy"]
            headers = {"If-None-Match": response.headers["ETag"]}
        assert "script-src 'self';" in policy
        async with service.fetch("GET", path, key=None, headers=headers) as response:
            assert response.status == 304


def test_what_is_no_code_is_packaged():
    """An editable installation would serve it anyway, a wheel only what setup.cfg names."""
    root = Path(service_package.__file__).parent
    setup = ConfigParser()
    setup.read(root.parent / "setup.cfg")
    patterns = setup["options.package_data"]["service"].split()
    packaged = {path for pattern in patterns for path in root.glob(pattern)}
    there = {path for path in root.rglob("*") if path.is_file() and path.suffix not in CODE}
    assert there == packaged
    assert {root / "console" / "docs" / name for name in FILES} < packaged
